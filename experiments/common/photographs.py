"""The faces and embeddings of photographs that a command line names; what is found and left out, on the screen.

Not here: the faces (`recognizer.photographs`), sets with a protocol (`evaluate.py` and its siblings).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from experiments.common import passed_over, pipeline
from faces.data.photographs import Found, find_photographs, printable
from faces.errors import DataError
from faces.evaluate.verification import few_names
from recognizer.cached_embedder import CachedEmbedder
from recognizer.model import Model
from recognizer.photographs import Faces, find_faces
from recognizer.pipeline import taken_as


def embed_photographs(
    places: Sequence[Path], model: Model, options: argparse.Namespace, console: Console
) -> tuple[Faces, np.ndarray, float | None]:
    """The faces of files, and of folders with all they contain.

    Returns:
        The faces; their embeddings, float32 (faces, d), of length 1; and how many were computed in a second, if any.
    Raises:
        DataError: no such file or folder, no image in them but where results go, or no face in any.
    """
    there = _without_results(find_photographs(places), options.out)
    passed_over.tell(console, there.passed_over)
    if not there.files:
        raise DataError(f"{', '.join(map(str, places))}: no photograph but in {options.out}, where results go.")
    search = pipeline.open_search(options, model.preprocessing)
    faces = find_faces(there, search, model.preprocessing, console)
    _tell(faces, model, options, console)
    if not len(faces):
        where, count = ", ".join(map(str, places)), counted(len(there.files), "photographs")
        first = faces.photographs[0]
        if len(faces.unreadable) == len(there.files):
            raise DataError(f"{where}: none of {count} can be decoded, the first is {first}: {faces.unreadable[first]}")
        raise DataError(f"{where}: no face found in any of {count}.")
    embed = CachedEmbedder(model, options.cache)
    return faces, embed(faces.pictures, console), embed.images_per_second


def _without_results(there: Found, out: Path) -> Found:
    """What lies at some places, without the pictures that an earlier command left where the results go."""
    folder = out.resolve()
    inside = {file for file in there.files if file.resolve().is_relative_to(folder)}
    reasons = {printable(str(file)): f"in {out}, where results go" for file in inside}
    files = tuple(file for file in there.files if file not in inside)
    return Found(files, dict(sorted({**there.passed_over, **reasons}.items())))


def _tell(faces: Faces, model: Model, options: argparse.Namespace, console: Console) -> None:
    """Print what was found, and in what nothing was."""
    looked = counted(len(faces.photographs) - len(faces.unreadable), "photographs")
    if faces.looked:
        found = counted(int(np.isfinite(faces.scores).sum()) + faces.not_meant, "faces")
        with_face = len(faces.photographs) - len(faces.unreadable) - len(faces.without_face)
        console.print(f"{looked}, {found} in {with_face:,} of them, more than one in {len(faces.several):,}")
    else:
        console.print(f"{looked}, {taken_as(model.preprocessing)}")
    if faces.not_meant:
        console.print(
            f"  {counted(faces.not_meant, 'faces')} passed over, --select {options.select} means one of several: "
            f"{few_names(faces.several)}"
        )
    nowhere = "no face in" if options.undetected == "refuse" else "no face, and the middle taken, in"
    if faces.without_face:
        console.print(f"  {nowhere} {few_names(faces.without_face)}")
    for reason, whose in passed_over.by_reason(faces.unreadable).items():
        console.print(f"  cannot be decoded: {few_names(whose)}: {reason}")


def counted(number: int, plural: str) -> str:
    """A number of things whose plural ends in s."""
    return f"{number:,} {plural.removesuffix('s') if number == 1 else plural}"
