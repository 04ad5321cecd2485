"""From photographs to embeddings, as the mains that evaluate a model share it: options, search for faces, cache.

Not here: what is judged (`evaluate.py`, `ytf.py`), the cutting itself (`faces.cut_faces`), embeddings
(`recognizer/cached_embedder.py`).
"""

import argparse
import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.common import report
from experiments.common.arguments import NETWORK_HELP, place
from faces.align import ALIGNMENTS
from faces.cache import Cache
from faces.cut_faces import NUMBERS, Cut, Looked, cut_faces, look
from faces.data.photographs import printable
from faces.detect.detections import ALL, RULES
from faces.errors import ConfigError, OutputError
from faces.preprocessing import WHOLE, Preprocessing
from faces.terminal import make_progress
from faces.toml_config import flatten
from recognizer.detector_identity import DETECTORS, NETWORKS
from recognizer.detectors import EDITION, digest, open_detector
from recognizer.model import Model, open_model

NONE = "none"
NEED_NO_FACE = ("centre_crop", "fixed_box")
"""Alignments that ask no detector."""
OF_DETECTOR = ("detector_network", "select", "undetected")
OF_ALIGNMENT = ("alignment", "margin", "resized", "box")
OF_FILE = ("symbol", "network")


def add_options(
    parser: argparse.ArgumentParser, needs_model: bool = True, of_albums: bool = False, refuses: bool = True
) -> None:
    """Options of model, detector, alignment and cache.

    Args:
        parser: of a main.
        needs_model: whether there is nothing to do without one.
        of_albums: photographs show any number of faces, and all are meant unless the command line says otherwise.
        refuses: whether faces that are missing can refuse a result.
    """
    parser.add_argument("--weights", type=Path, required=needs_model, metavar="MODEL",
                        help="folder of experiments.convert or a training run, or a file of weights")  # fmt: skip
    parser.add_argument("--symbol", type=Path, metavar="JSON", help="of a file: MXNet's graph, if not beside it")
    parser.add_argument("--network", metavar="NAME", help="of a file: the network it is of, if not to be found out")
    parser.add_argument("--detector", choices=(*DETECTORS, NONE), default=NONE, help=f"default {NONE}")
    parser.add_argument("--detector-weights", type=Path, metavar="FILE", help="file, or folder of mtcnn's three")
    parser.add_argument("--detector-network", choices=NETWORKS, help=NETWORK_HELP)
    rule = ALL if of_albums else "most_central"
    parser.add_argument("--select", choices=(ALL, *RULES) if of_albums else RULES,
                        help=f"which face of several that a detector finds (default {rule})")  # fmt: skip
    parser.add_argument("--undetected", choices=("refuse", "centre_crop"),
                        help="where no face is found: refuse the number (the default), or take the middle of the "
                        "photograph, as FaceNet does; counted in either case")  # fmt: skip
    parser.add_argument("--alignment", choices=ALIGNMENTS, help="another than the model's")
    parser.add_argument("--margin", type=float, metavar="PIXELS", help="of box_margin")
    parser.add_argument("--resized", type=int, metavar="SIDE", help="of box_margin: the square whose middle is taken")
    parser.add_argument("--box", type=float, nargs=4, metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"), help="of fixed_box")
    parser.add_argument("--flip", choices=(NONE, "sum", "concatenate"), help="the mirrored picture's embedding")
    if refuses:
        parser.add_argument("--allow-missing", action="store_true", help="print a number although faces are missing")
    parser.add_argument("--cache", type=place, default=Path("runs/cache"), metavar="DIR", help="default %(default)s")
    parser.add_argument("--out", type=place, required=True, metavar="DIR")
    parser.add_argument("--overwrite", action="store_true", help="replace the results that DIR holds")
    parser.set_defaults(default_rule=rule)


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with the parser's error where options do not belong together; fill in which face is meant.

    Raises:
        ConfigError: an option that changes nothing.
    """
    if (options.detector == NONE) != (options.detector_weights is None):
        parser.error("--detector retinaface or mtcnn and --detector-weights belong together")
    if options.weights is None:
        given = _given(options, *OF_FILE, "detector_weights", *OF_DETECTOR, *OF_ALIGNMENT, "flip")
        _refuse(given, "without --weights no face is looked at; name --weights")
    if options.detector == NONE:
        _refuse(_given(options, *OF_DETECTOR), "no face is looked for; name a --detector")
    options.select = options.select or options.default_rule
    options.undetected = options.undetected or "refuse"


def _given(options: argparse.Namespace, *names: str) -> list[str]:
    """Of these options those that the command line has, as it has them."""
    return [f"--{name.replace('_', '-')}" for name in names if getattr(options, name) is not None]


def _refuse(given: Sequence[str], why: str) -> None:
    """Refuse options that would change nothing."""
    if given:
        verb, them = ("changes", "it") if len(given) == 1 else ("change", "them")
        raise ConfigError(f"{' and '.join(given)} {verb} nothing: {why}, or leave {them} out.")


def open_for(options: argparse.Namespace, console: Console) -> Model:
    """The model with the preprocessing that the command line asks for; prints both, and what differs.

    Raises:
        ConfigError: an option that changes nothing, or preprocessing that does not hold together.
        CheckpointError, WeightsError: as `recognizer.model.open_model`.
    """
    if options.weights.is_dir():
        _refuse(_given(options, *OF_FILE), f"{options.weights} is a folder and says itself what it holds; name a file")
    model = open_model(options.weights, options.network, options.symbol)
    stored, wanted = model.preprocessing, preprocessing_of(options, model.preprocessing)
    network, origin = model.description.network, model.description.origin
    console.print(f"{network.name}, {network.embedding_dim} dimensions, of {origin.file}")
    console.print("preprocessing: " + ", ".join(f"{key} {value}" for key, value in flatten(wanted).items()))
    for key, value in flatten(wanted).items():
        if value != flatten(stored)[key]:
            console.print(f"  changed: {key} {flatten(stored)[key]} -> {value}; not what the weights are stored with")
    return dataclasses.replace(model, description=dataclasses.replace(model.description, preprocessing=wanted))


def preprocessing_of(options: argparse.Namespace, stored: Preprocessing) -> Preprocessing:
    """The model's own, with what the command line changes.

    Raises:
        ConfigError: values that make no sense together.
    """
    alignment = options.alignment or stored.alignment
    wanted = stored if alignment == stored.alignment else dataclasses.replace(
        stored, alignment=alignment, margin=0.0, resized=0, box=WHOLE
    )  # fmt: skip
    for owner, names in (("box_margin", ("margin", "resized")), ("fixed_box", ("box",))):
        if alignment != owner:
            are = f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'}"
            _refuse(_given(options, *names), f"{are} of alignment {owner}, and this is {alignment}; name --alignment "
                    f"{owner}")  # fmt: skip
    given = {"margin": options.margin, "resized": options.resized, "flip": options.flip}
    given["box"] = None if options.box is None else tuple(options.box)
    wanted = dataclasses.replace(wanted, **{key: value for key, value in given.items() if value is not None})
    for holds, sentence in wanted.rules():
        if not holds:
            raise ConfigError(f"command line: {sentence}.")
    return wanted


class Search:
    """Finding the faces of photographs, with what was found before."""

    def __init__(self, options: argparse.Namespace):
        self._options, self._middle = options, options.undetected == "centre_crop"
        self._detect = self._cache = None
        if options.detector != NONE:
            weights = options.detector_weights
            self._cache = Cache(options.cache / f"{options.detector}-{EDITION}-{digest(weights)[:16]}.npz", NUMBERS)
            self._detect = open_detector(options.detector, weights, network=options.detector_network)

    def check(self, preprocessing: Preprocessing, aligned: bool = False) -> None:
        """Refuse an alignment that needs a face where nobody looks for one, and options that change nothing.

        Args:
            preprocessing: the model's, with what the command line changes.
            aligned: whether all pictures are faces already, which are taken whole.
        """
        options, alignment = self._options, preprocessing.alignment
        if aligned:
            given = _given(options, "detector_weights", "detector_network", "margin", "resized", "box")
            given += [] if options.alignment in (None, "fixed_box") else ["--alignment"]
            _refuse(given, "the pictures are aligned faces, which are taken whole; name photographs")
        elif self._detect is None and alignment not in NEED_NO_FACE:
            raise ConfigError(f"alignment {alignment}: needs the face found; name a --detector.")
        elif self._detect is not None and alignment in NEED_NO_FACE:
            whose = f"--alignment {alignment}" if options.alignment else f"the model's alignment, {alignment},"
            _refuse([f"--detector {options.detector}"], f"{whose} takes the same part of every photograph, wherever "
                    "the face is; align by the face, as with --alignment five_points")  # fmt: skip

    def cut(
        self,
        photographs: Iterable[np.ndarray | None],
        count: int,
        name: str,
        preprocessing: Preprocessing,
        console: Console,
        aligned: bool = False,
    ) -> Cut:
        """The faces of photographs; of `aligned` pictures all of the picture, whatever the alignment."""
        how = _whole(preprocessing) if aligned else preprocessing
        with self._watched(count, name, console) as progress:
            detect = None if aligned else self._detect
            rule = self._options.select
            return cut_faces(photographs, count, how, detect, rule, self._fallback(how), self._cache, progress)

    def look(
        self,
        photographs: Iterable[np.ndarray | None],
        count: int,
        name: str,
        preprocessing: Preprocessing,
        console: Console,
    ) -> Iterator[Looked]:
        """The photographs one by one, each with the faces that `--select` names, which may be all."""
        fallback, rule = self._fallback(preprocessing), self._options.select
        with self._watched(count, name, console) as progress:
            yield from look(photographs, preprocessing, self._detect, rule, fallback, self._cache, progress)

    @contextlib.contextmanager
    def _watched(self, count: int, name: str, console: Console) -> Iterator[Callable[[int], None]]:
        """The bar's progress; what was found is kept however the block ends."""
        try:
            with make_progress(console) as bar:
                task = bar.add_task(name if self._detect is None else f"faces of {name}", total=count)
                yield lambda done: bar.advance(task, done)
        finally:
            if self._cache is not None:
                self._cache.save()

    def _fallback(self, preprocessing: Preprocessing) -> Preprocessing | None:
        middle = dataclasses.replace(_whole(preprocessing), alignment="centre_crop")
        return middle if self._middle else None


def _whole(preprocessing: Preprocessing) -> Preprocessing:
    return dataclasses.replace(preprocessing, alignment="fixed_box", margin=0.0, resized=0, box=WHOLE)


def seen_in(cut: Cut, preprocessing: Preprocessing, what: str = "photographs", aligned: bool = False) -> str:
    """A sentence on what was looked at: nobody speaks of faces found who did not look for any."""
    if cut.looked:
        return f"a face found in {cut.seen - len(cut.undetected):,} of {cut.seen:,} {what}"
    return f"{cut.seen:,} {what}, {'aligned faces, taken whole' if aligned else taken_as(preprocessing)}"


def taken_as(preprocessing: Preprocessing) -> str:
    """Which part of a photograph an alignment takes that needs no face."""
    if preprocessing.alignment == "centre_crop":
        part = "the middle of each taken, as alignment centre_crop says"
    elif preprocessing.box == WHOLE:
        part = "taken whole, as alignment fixed_box says"
    else:
        box = ", ".join(f"{side:g}" for side in preprocessing.box)
        part = f"the same part of each taken ({box} of width and height), as alignment fixed_box says"
    return f"{part}; no face was looked for"


def check_apart(options: argparse.Namespace, *inputs: Path) -> None:
    """Refuse an input that `--overwrite` would delete with the results in whose folder it lies.

    Raises:
        OutputError: there is one.
    """
    out = options.out.resolve()
    for path in inputs:
        if options.overwrite and path.resolve().is_relative_to(out):
            raise OutputError(f"{path}: lies in {options.out}, whose content --overwrite replaces; name another --out.")


def record(model: Model, images_per_second: float | None, options: argparse.Namespace) -> dict[str, Any]:
    """What `result.json` says about how faces became embeddings."""
    return {
        "images_per_second": report.rate(images_per_second),
        "config": model.name,
        "data": {"train": model.description.origin.file, "test": _names(options)},
        "preprocessing": flatten(model.preprocessing),
        **detection_record(options),
    }


def _names(options: argparse.Namespace) -> list[str]:
    """What was looked at: the last part of each place that the command line names."""
    places = options.photographs if "photographs" in options else [options.data]
    return [printable(place.absolute().name) for place in places]


def detection_record(options: argparse.Namespace) -> dict[str, str | None]:
    """What `result.json` says about the search for faces; nothing of it is chosen where nobody looks for any."""
    looked = options.detector != NONE
    return {
        "detector": options.detector,
        "select": options.select if looked else None,
        "undetected": options.undetected if looked else None,
    }
