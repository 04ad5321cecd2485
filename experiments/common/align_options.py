"""`experiments.prepare --detector`: the options of looking for faces, cutting them out and leaving some out.

Not here: the work (`aligning.py`).
"""

import argparse
from pathlib import Path

from experiments.common.arguments import NETWORK_HELP, WEIGHTS_HELP, add_manifest, detector
from faces.detect.detections import RULES
from faces.errors import ConfigError
from faces.sharpness import LEAST_DETAIL, SMALLEST
from recognizer.aligning import OWN
from recognizer.detector_identity import NETWORKS
from recognizer.manifest import DEFAULT_MODEL

SIDES = {"five_points": 112, "box_margin": 160, "two_eyes": 112}
"""Alignments that a training set can have, and the side of its faces in pixels where `--size` gives none."""
MARGIN = 32.0
NEAR = 0.95
"""CHOICE: cosine of near-duplicates. No two of five photographs each of 30 people have so much by y1, and of copies 90%
that are cut off at two sides and 96% that are turned a little (RESULTS.md)."""
_OF_DETECTOR = (
    "detector_weights", "detector_network", "select", "undetected", "alignment", "margin", "resized", "weights",
    "network", "near_duplicates", "least_face", "least_detail",
)  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options, in a group of their own."""
    group = parser.add_argument_group("photographs to aligned faces")
    group.add_argument("--detector", type=detector, metavar="NAME", help="find the face of each photograph by mtcnn, "
                       "retinaface or scrfd, and cut it out (default: images are stored as they are)")  # fmt: skip
    group.add_argument("--detector-weights", type=Path, metavar="FILE", help=WEIGHTS_HELP)
    group.add_argument("--detector-network", choices=NETWORKS, help=NETWORK_HELP)
    group.add_argument("--select", choices=(*RULES, OWN), help="which face of several (default most_central); "
                       f"{OWN}: by embeddings, the one nearest to the person's other faces")  # fmt: skip
    group.add_argument("--undetected", choices=("refuse", "centre_crop"), help="where no face is found: quarantine, "
                       "but refuse what a list of pairs names (the default), or take the middle")  # fmt: skip
    group.add_argument("--allow-missing", action="store_true", help="put in quarantine what a list of pairs names, too")
    group.add_argument("--alignment", choices=tuple(SIDES), help="how faces are cut out (default five_points), to "
                       "squares of 112 pixels, or 160 of box_margin, unless --size says otherwise")  # fmt: skip
    group.add_argument("--margin", type=float, metavar="PIXELS", help=f"of box_margin (default {MARGIN:g})")
    group.add_argument("--resized", type=int, metavar="SIDE", help="of box_margin: the square whose middle is taken")
    group.add_argument("--least-face", type=float, metavar="PIXELS", help="shorter side of a face's box, below which "
                       f"it is in quarantine (default {SMALLEST:g})")  # fmt: skip
    group.add_argument("--least-detail", type=float, metavar="X", help="part of a face's contrast that is fine, below "
                       f"which it is blurred and in quarantine (default {LEAST_DETAIL:g})")  # fmt: skip
    group.add_argument("--weights", type=Path, metavar="MODEL", help="model to embed faces with, for near-duplicates "
                       f"and --select {OWN} (default {DEFAULT_MODEL} where one is needed)")  # fmt: skip
    group.add_argument("--network", metavar="NAME", help="of a file of weights: the network it is of")
    group.add_argument("--near-duplicates", type=float, metavar="COSINE", help="from which on two faces are nearly the "
                       f"same (default {NEAR:g}, where there is a model)")  # fmt: skip
    group.add_argument("--drop-across", action="store_true", help="put near-duplicates under two names in quarantine, "
                       "both; otherwise they are named alone")  # fmt: skip
    add_manifest(group)


def check_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Fill in what follows from other options; end with the parser's error where they do not belong together.

    Raises:
        ConfigError: an option that changes nothing.
    """
    if args.detector is None:
        given = [name for name in _OF_DETECTOR if getattr(args, name) is not None]
        given += [name for name in ("allow_missing", "drop_across") if getattr(args, name)]
        _refuse(given, "no face is looked for; name a --detector")
        return
    if args.crop is not None:
        parser.error("--crop takes the same box of every photograph, and --detector looks for the face: give one")
    args.alignment = args.alignment or "five_points"
    of_box = [name for name in ("margin", "resized") if getattr(args, name) is not None]
    if args.alignment != "box_margin":
        _refuse(of_box, f"this is alignment {args.alignment}; name --alignment box_margin")
    args.side, args.size = args.size or SIDES[args.alignment], None
    args.margin = (MARGIN if args.margin is None else args.margin) if args.alignment == "box_margin" else 0.0
    args.resized = args.resized or 0
    if args.margin < 0 or (args.resized and args.resized < args.side):
        parser.error("--margin is not negative, and --resized is a square that holds the face")
    args.select, args.undetected = args.select or "most_central", args.undetected or "refuse"
    args.least_face = SMALLEST if args.least_face is None else args.least_face
    args.least_detail = LEAST_DETAIL if args.least_detail is None else args.least_detail
    if args.least_face < 0 or not 0 <= args.least_detail <= 1:
        parser.error("--least-face is a number of pixels, and --least-detail is from 0 to 1")
    if args.weights is None and (args.select == OWN or args.near_duplicates is not None):
        args.weights = Path(DEFAULT_MODEL)
    if args.weights is None:
        given = ["network"] if args.network is not None else []
        _refuse(given + ["drop_across"] * args.drop_across, "no face is embedded; name --weights")
    args.near_duplicates = NEAR if args.near_duplicates is None else args.near_duplicates
    if not 0 < args.near_duplicates <= 1:
        parser.error(f"--near-duplicates {args.near_duplicates}: a cosine above 0 and up to 1")


def _refuse(names: list[str], why: str) -> None:
    if names:
        given, verb = " and ".join(f"--{name.replace('_', '-')}" for name in names), "s" * (len(names) == 1)
        raise ConfigError(f"{given} change{verb} nothing: {why}, or leave {'it' if verb else 'them'} out.")
