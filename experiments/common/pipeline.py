"""The command line of the mains that evaluate a model on photographs: model, detector, alignment, cache, and records.

Not here: what they do with it (`recognizer.pipeline`), what is evaluated (`evaluate.py`, `ytf.py`).
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.common import report
from experiments.common.arguments import (
    NETWORK_HELP,
    NONE,
    WEIGHTS_HELP,
    add_manifest,
    add_pixels,
    detector_or_none,
    place,
    told_in,
)
from faces.align import ALIGNMENTS
from faces.data.photographs import printable
from faces.detect.detections import ALL, RULES
from faces.errors import ConfigError, OutputError
from faces.preprocessing import NEED_NO_FACE, PIXELS, WHOLE, Preprocessing
from faces.schema import flatten
from faces.toml_config import read_toml
from recognizer.detector_identity import DETECTORS, NETWORKS, remark
from recognizer.manifest import DEFAULT_MODEL, find_detector
from recognizer.model import Model, open_model
from recognizer.pipeline import Search, SearchSettings

OF_DETECTOR = ("detector_network", "select", "undetected")
OF_ALIGNMENT = ("alignment", "margin", "resized", "box")
OF_FILE = ("symbol", "network")


def add_options(
    parser: argparse.ArgumentParser,
    needs_model: bool = True,
    of_albums: bool = False,
    refuses: bool = True,
    out: Path | None = None,
) -> None:
    """Options of model, detector, alignment and cache.

    Args:
        parser: of a main.
        needs_model: whether there is nothing to do without one.
        of_albums: photographs show any number of faces, and all are meant unless the command line says otherwise.
        refuses: whether faces that are missing can refuse a result.
        out: where results go by default; None where the command line must say so.
    """
    of_model = "name of experiments.models, folder of experiments.convert or a training run, or a file of weights"
    parser.add_argument("--weights", type=Path, default=Path(DEFAULT_MODEL) if needs_model else None, metavar="MODEL",
                        help=of_model + (" (default %(default)s)" if needs_model else ""))  # fmt: skip
    parser.add_argument("--symbol", type=Path, metavar="JSON", help="of a file: MXNet's graph, if not beside it")
    parser.add_argument("--network", metavar="NAME", help="of a file: the network it is of, if not to be found out")
    add_pixels(parser)
    parser.add_argument("--detector", type=detector_or_none, metavar="NAME",
                        help=f"{', '.join(DETECTORS)} or {NONE} (default: what belongs to the model)")  # fmt: skip
    parser.add_argument("--detector-weights", type=Path, metavar="FILE", help=WEIGHTS_HELP)
    parser.add_argument("--detector-network", choices=NETWORKS, help=NETWORK_HELP)
    add_manifest(parser)
    rule = ALL if of_albums else "most_central"
    parser.add_argument("--select", choices=(ALL, *RULES) if of_albums else RULES,
                        help=f"which face of several that a detector finds (default {rule}"
                        + ("" if of_albums else ", or what belongs to the model") + ")")  # fmt: skip
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
    parser.add_argument("--out", type=place, required=out is None, default=out, metavar="DIR",
                        help=None if out is None else "default %(default)s")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace the results that DIR holds")
    parser.set_defaults(of_albums=of_albums)


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with the parser's error where options do not belong together; what belongs to the model is filled in later.

    Raises:
        ConfigError: an option that changes nothing.
    """
    if options.detector in (None, NONE) and options.detector_weights is not None:
        names = f"{', '.join(DETECTORS[:-1])} or {DETECTORS[-1]}"
        parser.error(f"--detector-weights belong to a detector; name it by --detector {names}")
    if options.weights is None:
        given = _given(options, *OF_FILE, *PIXELS, "detector_weights", *OF_DETECTOR, *OF_ALIGNMENT, "flip")
        _refuse(given, "without --weights no face is looked at; name --weights")
        options.detector = options.detector or NONE
    told_in(options)  # values that make no sense are refused before anything is opened
    if options.detector == NONE:
        _refuse(_given(options, *OF_DETECTOR), "no face is looked for; name a --detector")


def _given(options: argparse.Namespace, *names: str) -> list[str]:
    """Of these options those that the command line has, as it has them."""
    return [f"--{name.replace('_', '-')}" for name in names if getattr(options, name) is not None]


def _refuse(given: Sequence[str], why: str) -> None:
    """Refuse options that would change nothing."""
    if given:
        verb, them = ("changes", "it") if len(given) == 1 else ("change", "them")
        raise ConfigError(f"{' and '.join(given)} {verb} nothing: {why}, or leave {them} out.")


def open_for(
    options: argparse.Namespace, console: Console, aligned: bool = False, has_points: bool = False
) -> Model:
    """The model with the preprocessing that the command line asks for; prints both, and what differs.

    What the command line does not say about the search for faces, the model does: it is filled in.

    Args:
        options: as of `check_options`.
        console: what is printed to.
        aligned: whether all pictures are faces already.
        has_points: whether the set itself says where the five points of each face are.
    Raises:
        ConfigError: an option that changes nothing, or preprocessing that does not hold together.
        CheckpointError, WeightsError: as `recognizer.model.open_model`.
    """
    if options.weights.is_dir():
        _refuse(_given(options, *OF_FILE), f"{options.weights} is a folder and says itself what it holds; name a file")
    model = open_model(options.weights, options.network, options.symbol, options.manifest, told_in(options))
    stored, wanted = model.preprocessing, asked_preprocessing(options, model.preprocessing)
    network, origin = model.description.network, model.description.origin
    console.print(f"{network.name}, {network.embedding_dim} dimensions, of {origin.file}")
    if model.remark:
        console.print(f"  {model.remark}")
    if worse := degraded_in_training(options.weights):
        console.print(
            f"  the run's own evaluations degrade test images first ({worse}), before faces are cut to the network's "
            "size; here they are as they are, and the numbers are others"
        )
    console.print("preprocessing: " + ", ".join(f"{key} {value}" for key, value in flatten(wanted).items()))
    for key, value in flatten(wanted).items():
        if value != flatten(stored)[key]:
            console.print(f"  changed: {key} {flatten(stored)[key]} -> {value}; not what the weights are stored with")
    model = dataclasses.replace(model, description=dataclasses.replace(model.description, preprocessing=wanted))
    aligned = aligned or (has_points and wanted.alignment == "five_points")
    _fill_in_search(options, model, console, aligned)
    return model


def degraded_in_training(weights: Path) -> str:
    """How the evaluations of a run degrade their images, "" where they do not or nothing of the kind is known."""
    if not (weights / "config.toml").is_file():
        return ""
    own = read_toml(weights / "config.toml").get("evaluation", {})
    return ", ".join(f"{key} {own[key]}" for key in ("pixels", "jpeg_quality") if own.get(key))


def _fill_in_search(options: argparse.Namespace, model: Model, console: Console, aligned: bool) -> None:
    """Detector, its weights and what becomes of its finds, where the command line leaves them to the model."""
    own, looks = model.description.detection, model.preprocessing.alignment not in NEED_NO_FACE
    if options.detector is None:
        is_own = own is not None and looks and not aligned
        options.detector = own.detector if own is not None and is_own else NONE
        if options.detector == NONE:
            _refuse(_given(options, *OF_DETECTOR), "no face is looked for; name a --detector")
    is_own = own is not None and options.detector == own.detector
    if options.detector != NONE and options.detector_weights is None:
        options.detector_weights = find_detector(options.detector, options.manifest)
    if own is not None and is_own and not options.of_albums:
        options.select, options.undetected = options.select or own.select, options.undetected or own.undetected
    options.select = options.select or (ALL if options.of_albums else "most_central")
    options.undetected = options.undetected or "refuse"
    if options.detector != NONE:
        missing = "" if options.of_albums else f", where none is found: {options.undetected}"
        console.print(f"faces: found by {options.detector}, of several: {options.select}{missing}")
        if said := remark(options.detector, options.detector_weights, options.detector_network, options.manifest):
            console.print(f"  {said}")


def asked_preprocessing(options: argparse.Namespace, stored: Preprocessing) -> Preprocessing:
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


def open_search(options: argparse.Namespace, preprocessing: Preprocessing, aligned: bool = False) -> Search:
    """The search for faces that the command line asks for.

    Args:
        options: as of `check_options`.
        preprocessing: the model's, with what the command line changes.
        aligned: whether all images are faces already, which are taken whole.
    Raises:
        ConfigError: an alignment that needs a face where none is looked for, and options that change nothing.
        WeightsError, DataError: as `recognizer.detectors.open_detector`.
    """
    alignment, looks = preprocessing.alignment, options.detector != NONE
    if aligned:
        given = _given(options, "detector_weights", "detector_network", "margin", "resized", "box")
        given += [] if options.alignment in (None, "fixed_box") else ["--alignment"]
        _refuse(given, "the pictures are aligned faces, which are taken whole; name photographs")
    elif not looks and alignment not in NEED_NO_FACE:
        raise ConfigError(f"alignment {alignment}: needs the face found; name a --detector.")
    elif looks and alignment in NEED_NO_FACE:
        whose = f"--alignment {alignment}" if options.alignment else f"the model's alignment, {alignment},"
        _refuse([f"--detector {options.detector}"], f"{whose} takes the same part of every photograph, wherever "
                "the face is; align by the face, as with --alignment five_points")  # fmt: skip
    return Search(
        SearchSettings(
            options.detector if looks else None,
            options.detector_weights,
            options.detector_network,
            options.select,
            options.undetected == "centre_crop",
            options.cache,
            options.manifest,
        )
    )


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
    """What `result.json` says about the search for faces; nothing of it is chosen where none are looked for."""
    looked = options.detector != NONE
    return {
        "detector": options.detector,
        "select": options.select if looked else None,
        "undetected": options.undetected if looked else None,
    }
