"""Photographs of any folders to embeddings, each with its name: what clustering and search start from.

A photograph gives one face, the one that `--select` names. One that cannot be decoded, and one in which no face is
found, is named and left out: here nobody is asked for a number that it would falsify.

Not here: sets with a protocol (`evaluate.py` and its siblings).
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from experiments import pipeline
from experiments.detect import image_files
from experiments.published import Model
from faces.data.image_folder import printable
from faces.errors import DataError, ImageError
from faces.evaluate.verification import few_names


@dataclass(frozen=True)
class Faces:
    """The faces of some photographs.

    Args:
        names: path of each photograph with a face.
        folders: name of the folder that it lies in.
        pictures: aligned faces, uint8 (faces, rows, columns, 3), RGB.
        embeddings: float32 (faces, d), of length 1.
        photographs: how many were looked at.
        without_face: paths of those in which none was found.
        unreadable: of those that could not be decoded, with the reason.
        images_per_second: of the embedding.
    """

    names: tuple[str, ...]
    folders: tuple[str, ...]
    pictures: np.ndarray
    embeddings: np.ndarray
    photographs: int
    without_face: tuple[str, ...]
    unreadable: dict[str, str]
    images_per_second: float


def find_faces(places: Sequence[Path], model: Model, options: argparse.Namespace, console: Console) -> Faces:
    """The faces of files, and of folders with all they contain, in the order of their paths.

    Raises:
        DataError: no such file or folder, no image in them, or no face in any.
    """
    files = sorted({file for place in places for file in image_files(place)})
    if not files:
        raise DataError(f"{', '.join(map(str, places))}: no image found.")
    names = [printable(str(file)) for file in files]
    unreadable = dict[str, str]()

    def read() -> Iterator[np.ndarray | None]:
        for file, name in zip(files, names, strict=True):
            try:
                yield pipeline.read_photograph(file)
            except ImageError as error:
                unreadable[name] = str(error)
                yield None

    search = pipeline.Search(options)
    search.check(model.preprocessing)
    cut = search.cut(read(), len(files), "the photographs", model.preprocessing, console)
    lost = set(cut.undetected) if options.undetected == "refuse" else set[int]()
    kept = [row for row in range(len(files)) if row not in lost and names[row] not in unreadable]
    without_face = tuple(names[row] for row in cut.undetected)
    console.print(f"{len(files):,} photographs, a face in {cut.seen - len(cut.undetected):,}")
    for what, whose in (("no face in", without_face), ("cannot be decoded:", tuple(unreadable))):
        if whose:
            console.print(f"  {what} {few_names(whose)}")
    if not kept:
        raise DataError(f"{', '.join(map(str, places))}: no face found in any of {len(files):,} photographs.")
    embed = pipeline.CachedEmbedder(model, options.cache)
    pictures = cut.faces[kept]
    return Faces(
        tuple(names[row] for row in kept),
        tuple(printable(files[row].parent.name) for row in kept),
        pictures,
        embed(pictures, console),
        len(files),
        without_face,
        unreadable,
        embed.images_per_second,
    )
