"""Who is who in a folder of photographs: `python -m experiments.people PHOTOGRAPHS`.

Every face of every photograph, of files and of folders with all they contain, is found, aligned and embedded as the
model's weights say, and faces of one person are put together: by average linkage, from the cosine on that belongs to
the model. A face that is too small or too blurred to be told from others stays alone. DIR, `people` unless `--out`
names another, receives

- `sheet.png`: all people with all their faces, the person with most faces first, and faces that are alone at the end;
  several sheets, `sheet_1.png` on, where they are many;
- `photographs/`: every photograph with the boxes and names of its faces drawn, at most 1,600 pixels a side;
- `people.csv`: a line for each face: its person, photograph, box in pixels, the detector's score, and its score, the
  mean cosine with the person's other faces; and a line for each photograph without a face, which has only a path;
- `people.json`: the same by people, and the faces that are alone;
- `result.json`, the line that is printed last, with model, detector, preprocessing and cosine; and `environment.json`.

With `--labelled`, folders name the people in them, and it is counted how far that is what was found, as
`experiments.cluster` does. DIR holds the results of one command, which `--overwrite` replaces together.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.common import pipeline
from experiments.common.cluster_lists import entries, write_table
from experiments.common.contact_sheets import draw_clusters
from experiments.common.labelled import add_labelled, agreement_of
from experiments.common.photographs import counted, embed_photographs
from experiments.common.results import deliver
from experiments.common.threshold import add_threshold, check_threshold, clustering_threshold
from faces import cli
from faces.cluster import cluster
from faces.data.images import encode_jpeg, read_image
from faces.detect.sheet import draw_named
from faces.outputs import write_bytes, write_json
from faces.sharpness import too_blurred, too_small
from faces.terminal import make_console, make_progress
from recognizer.photographs import Faces

OUT = Path("people")
DRAWN = "photographs"
LONGEST = 1600
"""Pixels of a photograph's longer side, at most, as it is drawn."""


def main(arguments: list[str]) -> None:
    """Parse, find faces, embed, put people together, write."""
    options, console = parse(arguments), make_console()
    pipeline.check_apart(options, *options.photographs)
    deliver(options, console, lambda out: tell_people(options, out, console))


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.people", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("photographs", nargs="+", type=Path, metavar="PHOTOGRAPHS", help="files, and folders to search")
    add_threshold(parser)
    add_labelled(parser)
    pipeline.add_options(parser, of_albums=True, refuses=False, out=OUT)
    options = parser.parse_args(arguments)
    pipeline.check_options(parser, options)
    check_threshold(parser, options)
    return options


def tell_people(options: argparse.Namespace, out: Path, console: Console) -> dict[str, Any]:
    """Write lists, sheets and drawn photographs to `out`; what `result.json` says."""
    model = pipeline.open_for(options, console)
    threshold = clustering_threshold(options.threshold, model)
    faces, embeddings, images_per_second = embed_photographs(options.photographs, model, options, console)
    small, blurred = too_small(faces.boxes), too_blurred(faces.pictures)
    labels = people_of(embeddings, small | blurred, threshold)
    sizes = np.bincount(labels)
    several, alone = int(np.sum(sizes > 1)), int(np.sum(sizes == 1))
    score = scores(embeddings, labels)
    console.print(
        f"{counted(several, 'people') if several != 1 else '1 person'} with several {faces.noun} at cosine "
        f"{threshold:g}, the most with {sizes[0]:,}; {alone:,} {faces.noun} are alone"
    )
    if small.any() or blurred.any():
        console.print(f"  left alone: {int(small.sum()):,} too small, {int((blurred & ~small).sum()):,} too blurred")
    listed = ["" if np.isnan(one) else f"{one:.4f}" for one in score]
    write_table(out / "people.csv", faces, labels, "person", name_of, {"score": listed})
    write_json(out / "people.json", _by_people(faces, labels, score, threshold))
    console.print(draw_clusters(faces.pictures, labels, out, faces.noun, name_of))
    drawn = _draw_photographs(faces, labels, out / DRAWN, console)
    console.print(f"{DRAWN}: {counted(drawn, 'photographs')} with boxes and names")
    result: dict[str, Any] = {
        "people": several,
        "alone": alone,
        "too_small": int(small.sum()),
        "too_blurred": int((blurred & ~small).sum()),
        "sizes": sizes.tolist(),
        "drawn": drawn,
        **faces.record(),
        "threshold": threshold,
        "weights": {"file": model.description.origin.file, "sha256": model.description.origin.sha256},
        **pipeline.record(model, images_per_second, options),
    }
    if options.labelled:
        result["agreement"] = agreement_of(faces, labels, console)
    return result


def name_of(label: int) -> str:
    """What a cluster is called."""
    return f"person {label + 1}"


def people_of(embeddings: np.ndarray, shows_too_little: np.ndarray, threshold: float) -> np.ndarray:
    """Each face's person, int32 (faces,), 0 with most faces; who shows too little is a person of its own, at the end.

    Args:
        embeddings: float32 (faces, d), of length 1.
        shows_too_little: bool (faces,).
        threshold: mean cosine from which on two clusters are one person.
    """
    labels = np.empty(len(embeddings), np.int32)
    clear = np.flatnonzero(~shows_too_little)
    labels[clear] = cluster(embeddings[clear], threshold, "average") if clear.size else 0
    first = int(labels[clear].max()) + 1 if clear.size else 0
    labels[shows_too_little] = first + np.arange(len(embeddings) - clear.size)
    return labels


def scores(embeddings: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean cosine of each face with the other faces of its person, float64 (faces,); NaN of one that is alone."""
    sizes = np.bincount(labels)
    sums = np.zeros((sizes.size, embeddings.shape[1]))  # (people, d)
    np.add.at(sums, labels, embeddings.astype(np.float64))
    own = np.einsum("fd,fd->f", embeddings, embeddings, dtype=np.float64)  # (faces,)
    others = np.einsum("fd,fd->f", embeddings.astype(np.float64), sums[labels]) - own
    of_person = sizes[labels]
    return np.where(of_person > 1, others / np.maximum(of_person - 1, 1), np.nan)


def _by_people(faces: Faces, labels: np.ndarray, score: np.ndarray, threshold: float) -> dict[str, Any]:
    listed = entries(faces, labels)
    for person in range(len(listed)):
        for entry, face in zip(listed[person], np.flatnonzero(labels == person), strict=True):
            entry["score"] = None if np.isnan(score[face]) else round(float(score[face]), 6)
    named = [{"person": name_of(number), "faces": of_person} for number, of_person in enumerate(listed)]
    return {
        "threshold": threshold,
        "people": [one for one in named if len(one["faces"]) > 1],
        "alone": [one for one in named if len(one["faces"]) == 1],
        "without_face": list(faces.without_face),
    }


def _draw_photographs(faces: Faces, labels: np.ndarray, folder: Path, console: Console) -> int:
    """Every photograph that could be decoded, with what was found in it, as JPEG by its path below all photographs; how
    many."""
    rows = [row for row, size in enumerate(faces.sizes) if size is not None]
    places = drawn_places([Path(faces.files[row]) for row in rows])
    with make_progress(console) as bar:
        for row, place in bar.track(list(zip(rows, places, strict=True)), description="drawing"):
            found = np.flatnonzero((faces.photograph == row) & np.isfinite(faces.scores))
            image = read_image(faces.files[row], faces.photographs[row])
            names = [name_of(label) for label in labels[found].tolist()]
            drawn = draw_named(image, faces.boxes[found], names, labels[found].tolist(), LONGEST)
            write_bytes(folder / place, encode_jpeg(drawn))
    return len(rows)


def drawn_places(files: list[Path]) -> list[Path]:
    """Where photographs are drawn: below the folder that holds all, each by its own name; a further suffix where it is
    no JPEG, or where two would have one name."""
    absolute = [file.absolute() for file in files]
    root = Path(*_common([file.parent.parts for file in absolute]))
    taken: set[str] = set()
    places = []
    for file in absolute:
        place = file.relative_to(root)
        if place.suffix.lower() not in (".jpg", ".jpeg"):
            place = place.with_name(f"{place.name}.jpg")
        while str(place).casefold() in taken:
            place = place.with_name(f"{place.stem}_{place.suffix}")
        taken.add(str(place).casefold())
        places.append(place)
    return places


def _common(paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The parts that all paths begin with."""
    shortest, longest = min(paths), max(paths)
    same = [a == b for a, b in zip(shortest, longest, strict=False)]
    return shortest[: same.index(False) if False in same else len(same)]


if __name__ == "__main__":
    cli.run(main)
