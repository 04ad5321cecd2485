"""From photographs to embeddings, as the mains that evaluate a model share it: options, search for faces, cache.

Not here: what is judged (`evaluate.py`, `ytf.py`), the cutting itself (`faces.cut_faces`).
"""

import argparse
import dataclasses
import hashlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.detect import digest
from experiments.published import Model, embedder_of, open_model
from faces.align import ALIGNMENTS
from faces.cache import Cache, digest_of
from faces.config import flatten
from faces.cut_faces import Cut, cut_faces
from faces.data.images import decode_image
from faces.detect.detections import RULES
from faces.detect.published import DETECTORS, open_detector
from faces.embed import BLOCK
from faces.errors import ConfigError, ImageError
from faces.mesh import make_mesh
from faces.preprocessing import WHOLE, Preprocessing
from faces.terminal import make_progress

NONE = "none"
NEED_NO_FACE = ("centre_crop", "fixed_box")
"""Alignments that ask no detector."""


def add_options(parser: argparse.ArgumentParser, needs_model: bool = True) -> None:
    """Options of model, detector, alignment and cache."""
    parser.add_argument("--weights", type=Path, required=needs_model, metavar="MODEL",
                        help="folder of experiments.convert or a training run, or a file of weights")  # fmt: skip
    parser.add_argument("--symbol", type=Path, metavar="JSON", help="of a file: MXNet's graph, if not beside it")
    parser.add_argument("--network", metavar="NAME", help="of a file: the network it is of, if not to be found out")
    parser.add_argument("--detector", choices=(*DETECTORS, NONE), default=NONE, help=f"default {NONE}")
    parser.add_argument("--detector-weights", type=Path, metavar="FILE", help="file, or folder of mtcnn's three")
    parser.add_argument("--select", choices=RULES, default="most_central",
                        help="which face of several (default %(default)s)")  # fmt: skip
    parser.add_argument("--undetected", choices=("refuse", "centre_crop"), default="refuse",
                        help="where no face is found: refuse the number, or take the middle of the photograph, as "
                        "FaceNet does; counted in either case")  # fmt: skip
    parser.add_argument("--alignment", choices=ALIGNMENTS, help="another than the model's")
    parser.add_argument("--margin", type=float, metavar="PIXELS", help="of box_margin")
    parser.add_argument("--resized", type=int, metavar="SIDE", help="of box_margin: the square whose middle is taken")
    parser.add_argument("--box", type=float, nargs=4, metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"), help="of fixed_box")
    parser.add_argument("--flip", choices=(NONE, "sum", "concatenate"), help="the mirrored picture's embedding")
    parser.add_argument("--allow-missing", action="store_true", help="print a number although faces are missing")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), metavar="DIR", help="default %(default)s")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with the parser's error where options do not belong together."""
    if (options.detector == NONE) != (options.detector_weights is None):
        parser.error("--detector retinaface or mtcnn and --detector-weights belong together")


def open_for(options: argparse.Namespace, console: Console) -> Model:
    """The model with the preprocessing that the command line asks for; prints both, and what differs."""
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
        self._rule, self._middle = options.select, options.undetected == "centre_crop"
        self._detect = self._cache = None
        if options.detector != NONE:
            weights = options.detector_weights
            self._cache = Cache(options.cache / f"{options.detector}-{digest(weights)[:16]}.npz")
            self._detect = open_detector(options.detector, weights)

    def check(self, preprocessing: Preprocessing, aligned: bool = False) -> None:
        """Refuse an alignment that needs a face where nobody looks for one; `aligned` pictures are faces already."""
        if not (self._detect or aligned or preprocessing.alignment in NEED_NO_FACE):
            raise ConfigError(f"alignment {preprocessing.alignment}: needs the face found; name a --detector.")

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
        whole = dataclasses.replace(preprocessing, alignment="fixed_box", margin=0.0, resized=0, box=WHOLE)
        middle = dataclasses.replace(whole, alignment="centre_crop")
        needs_face = preprocessing.alignment not in NEED_NO_FACE and not aligned
        try:
            with make_progress(console) as bar:
                task = bar.add_task(f"faces of {name}", total=count)
                return cut_faces(
                    photographs,
                    count,
                    whole if aligned else preprocessing,
                    self._detect if needs_face else None,
                    self._rule,
                    middle if self._middle else None,
                    self._cache,
                    lambda done: bar.advance(task, done),
                )
        finally:
            if self._cache is not None:
                self._cache.save()


class CachedEmbedder:
    """A model's embeddings, with those computed before; of length 1 unless `unit` is False."""

    def __init__(self, model: Model, cache: Path, unit: bool = True):
        seen = model.preprocessing
        what = f"{model.description.origin.sha256} {model.name} {seen.channels} {seen.mean} {seen.scale} {seen.flip}"
        what += "" if unit else " as long as the network gives them"
        self._cache = Cache(cache / f"embeddings-{hashlib.sha256(what.encode()).hexdigest()[:16]}.npz")
        self._embed = embedder_of(model, make_mesh(), unit)
        self._images, self._seconds = 0, 0.0

    @property
    def images_per_second(self) -> float:
        """Of those that were computed now, compilation included; 0 if all were known."""
        return self._images / self._seconds if self._images else 0.0

    def __call__(self, images: np.ndarray, console: Console) -> np.ndarray:
        """Aligned pictures, uint8 (n, rows, columns, 3) -> float32 (n, d)."""
        keys = [digest_of(image) for image in images]
        new = list({key: row for row, key in enumerate(keys) if self._cache.get(key) is None}.values())
        try:
            with make_progress(console) as bar:
                task = bar.add_task("embedding", total=len(new))
                for start in range(0, len(new), 8 * BLOCK):
                    rows = new[start : start + 8 * BLOCK]
                    before = time.perf_counter()
                    for row, embedding in zip(rows, self._embed(images[rows]), strict=True):
                        self._cache.put(keys[row], embedding)
                    self._seconds += time.perf_counter() - before
                    self._images += len(rows)
                    bar.advance(task, len(rows))
        finally:
            self._cache.save()
        return np.stack([self._cached(key) for key in keys])

    def _cached(self, key: bytes) -> np.ndarray:
        vector = self._cache.get(key)
        assert vector is not None  # put there above
        return vector


def read_photograph(path: Path) -> np.ndarray:
    """The photograph in a file, uint8 (height, width, 3), RGB; ImageError where it cannot be read."""
    try:
        return decode_image(path.read_bytes(), str(path))
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}).") from None


def record(model: Model, images_per_second: float, options: argparse.Namespace) -> dict[str, Any]:
    """What `result.json` says about how faces became embeddings."""
    return {
        "images_per_second": round(images_per_second, 2),
        "config": model.name,
        "data": {"train": model.description.origin.file, "test": [str(options.data.name)]},
        "preprocessing": flatten(model.preprocessing),
        "detector": options.detector,
        "select": options.select,
        "undetected": options.undetected,
    }
