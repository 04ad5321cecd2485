"""The search for the faces of photographs: by which detector, which face of several is meant, with what was found
before.

Not here: a command line's options (`experiments.common.pipeline`), the cutting (`faces.cut_faces`), embeddings
(`cached_embedder.py`).
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console

from faces.cache import Cache
from faces.cut_faces import NUMBERS, Cut, Looked, cut_faces, look
from faces.detect.detections import Rule
from faces.errors import ConfigError
from faces.preprocessing import NEED_NO_FACE, WHOLE, Preprocessing
from faces.terminal import make_progress
from recognizer.detectors import EDITION, digest, open_detector
from recognizer.manifest import MANIFEST


@dataclass(frozen=True)
class SearchSettings:
    """Who looks for faces, and which of them are meant.

    Args:
        detector: of `detector_identity.DETECTORS`; None where faces are not looked for.
        weights: the detector's, file or folder; None without a detector.
        network: what the weights are of, where they do not say so; as `detectors.open_detector`.
        select: which face of several is meant, as `faces.detect.detections.select`; "all" where each is.
        takes_middle: of a photograph in which no face is found the middle is taken; otherwise nothing.
        cache: folder that keeps what was found; None keeps nothing.
        manifest: the files that are known by their hash.
    """

    detector: str | None = None
    weights: Path | None = None
    network: str | None = None
    select: Rule | Literal["all"] = "most_central"
    takes_middle: bool = False
    cache: Path | None = None
    manifest: Path = MANIFEST


class Search:
    """Finding the faces of photographs, with what was found before."""

    def __init__(self, settings: SearchSettings):
        """Open the detector.

        Raises:
            ConfigError, WeightsError, DataError: as `detectors.open_detector`.
        """
        self.settings = settings
        self._detect = self._cache = None
        name, weights = settings.detector, settings.weights
        if name is not None and weights is not None:
            if settings.cache is not None:
                self._cache = Cache(settings.cache / f"{name}-{EDITION}-{digest(weights)[:16]}.npz", NUMBERS)
            self._detect = open_detector(name, weights, network=settings.network, manifest=settings.manifest)

    def cut(
        self,
        photographs: Iterable[np.ndarray | None],
        count: int,
        name: str,
        preprocessing: Preprocessing,
        console: Console,
        aligned: bool = False,
        rows: Sequence[int] | None = None,
    ) -> Cut:
        """The faces of photographs, one of each; of `aligned` images all of the image, whatever the alignment.

        `rows` are the photographs' positions in the set, for messages; None where they are all of it.
        """
        how = taken_whole(preprocessing) if aligned else preprocessing
        rule = self.settings.select
        assert rule != "all"  # a protocol asks for one face
        with self._watched(count, name, console) as progress:
            detect = None if aligned else self._detect
            fallback, cache = self._fallback(how), self._cache

            def name_of(row: int) -> str:
                return f"{name}, number {(row if rows is None else rows[row]) + 1}"

            return cut_faces(photographs, count, how, detect, rule, fallback, cache, progress, name_of)

    def reread(self) -> None:
        """Take in what other programs have found since."""
        if self._cache is not None:
            self._cache.reread()

    def look(
        self,
        photographs: Iterable[np.ndarray | None],
        count: int,
        name: str,
        preprocessing: Preprocessing,
        console: Console,
        name_of: Callable[[int], str],
    ) -> Iterator[Looked]:
        """The photographs one by one, each with the faces that are meant, which may be all."""
        fallback, rule = self._fallback(preprocessing), self.settings.select
        with self._watched(count, name, console) as progress:
            yield from look(photographs, preprocessing, self._detect, rule, fallback, self._cache, progress, name_of)

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
        middle = dataclasses.replace(taken_whole(preprocessing), alignment="centre_crop")
        return middle if self.settings.takes_middle else None


def check_looks(alignment: str, looks: bool) -> None:
    """Refuse an alignment that needs a face where none is looked for, and a search for faces that changes nothing.

    Args:
        alignment: name in `faces.align.ALIGNMENTS`.
        looks: whether there is a detector.
    Raises:
        ConfigError: it is so.
    """
    if not looks and alignment not in NEED_NO_FACE:
        raise ConfigError(f"alignment {alignment}: needs the face found; name a detector.")
    if looks and alignment in NEED_NO_FACE:
        raise ConfigError(
            f"alignment {alignment}: takes the same part of every photograph, wherever the face is; leave the detector "
            "out, or align by the face, as five_points does."
        )


def taken_whole(preprocessing: Preprocessing) -> Preprocessing:
    """As the same network takes images that are faces already: to its size, with bars where it knows bars."""
    alignment = preprocessing.alignment if preprocessing.alignment == "letterbox" else "fixed_box"
    return dataclasses.replace(preprocessing, alignment=alignment, margin=0.0, resized=0, box=WHOLE)


def seen_in(cut: Cut, preprocessing: Preprocessing, what: str = "photographs", aligned: bool = False) -> str:
    """A sentence on what was looked at; it speaks of faces found only where they were looked for."""
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
