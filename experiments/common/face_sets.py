"""Labelled faces of any source as a command compares them: opened, cut out, and embedded some thousands at a time.

Not here: the options (`pipeline.py`), what is compared (`faces.evaluate.overlap`).
"""

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from experiments.common import passed_over
from faces.data.open import open_source
from faces.data.pair_people import PairPeople
from faces.data.prepared import EncodedSource
from faces.errors import DataError, ImageError
from faces.evaluate.overlap import Embedded, embedded
from faces.preprocessing import WHOLE, Preprocessing, align
from recognizer.cached_embedder import CachedEmbedder
from recognizer.photographs import NO_FACE
from recognizer.pipeline import Search, taken_whole

AT_ONCE = 4096
"""Images cut out and embedded at a time."""
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class FaceSet:
    """A set of labelled images.

    Args:
        path: as the command line names it.
        source: images and labels.
        aligned: the images are faces already.
        names_people: each person of it is one person; otherwise one may be several (`PairPeople`).
    """

    path: Path
    source: EncodedSource | PairPeople
    aligned: bool
    names_people: bool = True


@dataclass(frozen=True)
class EmbeddedSet:
    """What of a set is compared.

    Args:
        faces: the set.
        rows: of its images, ascending, (images,).
        labels: of its people of whom there is an image, ascending, (people,).
        embedded: the images and the people, numbered in the order of `labels`.
        left_out: names of images that show no face or cannot be decoded, with the reason.
    """

    faces: FaceSet
    rows: np.ndarray
    labels: np.ndarray
    embedded: Embedded
    left_out: dict[str, str]

    def name_of(self, person: int) -> str:
        """A person's name in the set."""
        return self.faces.source.identity_names[int(self.labels[person])]

    def image_name(self, image: int) -> str:
        """An image's name in the set."""
        return self.faces.source.source_name(int(self.rows[image]))

    def images_of(self, person: int) -> np.ndarray:
        """A person's images, ascending."""
        return np.flatnonzero(self.embedded.people == person)

    def record(self) -> dict[str, object]:
        """What `result.json` says of it."""
        return {"images": len(self.rows), "people": len(self.labels), "aligned": self.faces.aligned}


def open_face_set(path: Path, aligned: bool, console: Console) -> FaceSet:
    """Open what `faces.data.open` knows, and .bin files of pairs.

    Args:
        path: file or folder.
        aligned: the command line says that these are faces already.
        console: what is passed over is printed there.
    Raises:
        DataError: nothing usable lies there.
    """
    if path.suffix == ".bin" and path.is_file():
        return FaceSet(path, PairPeople(path), aligned=True, names_people=False)
    opened = open_source(path)
    passed_over.tell(console, opened.ignored, f"passed over in {path}")
    return FaceSet(path, opened.source, aligned or opened.aligned)


def some_of_each(identities: np.ndarray, most: int | None, seed: int) -> np.ndarray:
    """Rows of at most so many images of each person, drawn by a seed, ascending; of fewer the same and others."""
    if most is None:
        return np.arange(len(identities))
    order = np.random.default_rng(seed).permutation(len(identities))
    order = order[np.argsort(identities[order], kind="stable")]  # person by person
    counts = np.bincount(identities)
    within = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[within < most])


class Cutter:
    """Faces of a set's images, as a model takes them.

    Args:
        search: who looks for the faces of photographs.
        preprocessing: of the model.
        box: which part of faces that are cut out already is shown to it.
        options: `undetected`.
        console: where bars are drawn.
    """

    def __init__(
        self, search: Search, preprocessing: Preprocessing, box: Box, options: argparse.Namespace, console: Console
    ):
        self._search, self._preprocessing, self._console = search, preprocessing, console
        whole = taken_whole(preprocessing)
        self._whole = whole if box == WHOLE else dataclasses.replace(whole, alignment="fixed_box", box=box)
        self._takes_middle = options.undetected == "centre_crop"

    def __call__(self, faces: FaceSet, rows: np.ndarray, label: str) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        """Cut out the faces of some images.

        Returns:
            The faces, uint8 (cut, rows, columns, 3), the rows that they are of, and why of others there is none.
        """
        images, left_out = list[np.ndarray | None](), dict[str, str]()
        for row in rows.tolist():
            try:
                images.append(faces.source[row])
            except ImageError as error:
                name = faces.source.source_name(row)
                left_out[name] = str(error).removeprefix(f"{name}: ")
                images.append(None)
        is_there = np.array([image is not None for image in images], bool)
        if faces.aligned:
            cut = [align(self._whole, image, None, None) for image in images if image is not None]
            return np.array(cut, np.uint8).reshape(-1, *self._preprocessing.size, 3), rows[is_there], left_out
        found = self._search.cut(images, len(images), label, self._preprocessing, self._console)
        if not self._takes_middle:
            is_there[list(found.undetected)] = False
            left_out |= {faces.source.source_name(int(rows[at])): NO_FACE for at in found.undetected}
        return found.faces[is_there], rows[is_there], left_out


def embed_set(
    faces: FaceSet, rows: np.ndarray, cut: Cutter, embed: CachedEmbedder, console: Console
) -> EmbeddedSet:
    """Cut and embed some images of a set.

    Raises:
        DataError: of none of them there is a face.
    """
    embeddings, kept, left_out = list[np.ndarray](), list[np.ndarray](), dict[str, str]()
    for start in range(0, len(rows), AT_ONCE):
        part = rows[start : start + AT_ONCE]
        label = f"{faces.path}, {start + len(part):,} of {len(rows):,}"
        pictures, found, without = cut(faces, part, label)
        left_out |= without
        if len(found):
            embeddings.append(embed(pictures, console))
            kept.append(found)
    if not kept:
        name, why = next(iter(left_out.items()))
        raise DataError(f"{faces.path}: no face in any of its {len(rows):,} images, the first is {name}: {why}")
    there = np.concatenate(kept)
    labels, people = np.unique(faces.source.identities[there], return_inverse=True)
    return EmbeddedSet(faces, there, labels, embedded(np.concatenate(embeddings), people), left_out)
