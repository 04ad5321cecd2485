"""Who is it: enrol people once, then look for the faces of photographs among them.

    python -m experiments.search enrol PEOPLE --out DIR
    python -m experiments.search find PHOTOGRAPHS... --index DIR/index.npz --out DIR
    python -m experiments.search forget NAME --index DIR/index.npz

PEOPLE holds a folder for each person, PERSON/IMAGE, and each image gives one face, the one that `--select` names.
Enrolling writes `index.npz`: their embeddings with names, and weights, preprocessing and detector that made them, which
are then asked for. With `--one-byte` an embedding takes one byte a dimension (FaceNet, Sec. 5.4), a quarter of the
room. A person's score is the cosine of the most similar image; whose best score is below the threshold, the model's own
unless `--threshold` gives another, is unknown. Finding looks at every face of a photograph unless `--select` means one,
and writes `matches.jsonl`, a line for each photograph: its name, its size (height, width), and its faces, the best
first, each with its box and the detector's score, `person` (null if unknown), and the ranked people with score and
image. Faces are found, aligned and embedded as `experiments.evaluate` does; both leave `result.json`, the line that is
printed last, and `environment.json`. DIR holds the results of one command, which `--overwrite` replaces together.

Forgetting takes a person out of indexes and caches; so does enrolling anew without the person in the same DIR. No other
command may use the cache meanwhile: it would write what it has read. Results of earlier commands are not looked at.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.common import forgetting, passed_over, pipeline
from experiments.common.arguments import place
from experiments.common.made_by import check_same, made_by
from experiments.common.people_index import INDEX, Index, read_index, write_index
from experiments.common.photographs import counted, embed_photographs
from experiments.common.results import deliver, print_result
from experiments.common.threshold import add_threshold, check_threshold, verification_threshold
from facenet_jax import one_byte
from faces import cli, gallery
from faces.data.photographs import classify, printable, scan
from faces.errors import DataError
from faces.evaluate.verification import few_names
from faces.outputs import write_text
from faces.terminal import make_console
from faces.unit import unit_rows
from recognizer.photographs import Faces

SHOWN = 20  # faces whose match is printed; the file has all


def main(arguments: list[str]) -> None:
    """Parse, then enrol, find or forget."""
    options = parse(arguments)
    console = make_console()
    if options.command == "forget":
        print_result(forgetting.forget(options.name, options.index, options.cache, console))
        return
    inputs = [options.people] if options.command == "enrol" else [*options.photographs, options.index]
    pipeline.check_apart(options, *inputs)
    work = enrol if options.command == "enrol" else find
    deliver(options, console, lambda out: work(options, out, console))


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.search", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True)
    enrolling = commands.add_parser("enrol", allow_abbrev=False, help="people to an index")
    enrolling.add_argument("people", type=Path, metavar="PEOPLE", help="a folder for each person")
    enrolling.add_argument("--one-byte", action="store_true", help="store embeddings in one byte a dimension")
    finding = commands.add_parser("find", allow_abbrev=False, help="photographs to names")
    finding.add_argument("photographs", nargs="+", type=Path, metavar="PHOTOGRAPHS", help="files and folders")
    finding.add_argument("--index", type=Path, required=True, metavar="FILE", help=f"the {INDEX} of enrolled people")
    add_threshold(finding)
    finding.add_argument("--top", type=int, default=5, metavar="N", help="people to rank (%(default)s)")
    forgetter = commands.add_parser("forget", allow_abbrev=False, help="a person, in indexes and caches")
    forgetter.add_argument("name", metavar="NAME", help="as enrolled: the folder's")
    forgetter.add_argument("--index", "--gallery", type=place, nargs="+", required=True, metavar="FILE",
                           help=f"each {INDEX} that may have the person")  # fmt: skip
    forgetter.add_argument("--cache", type=place, nargs="+", default=[Path("runs/cache")], metavar="DIR",
                           help="each that enrolling and finding were given (default runs/cache)")  # fmt: skip
    pipeline.add_options(enrolling)
    pipeline.add_options(finding, of_albums=True, refuses=False)
    options = parser.parse_args(arguments)
    if options.command == "forget":
        return options
    pipeline.check_options(parser, options)
    if options.command == "enrol":
        options.data = options.people
    if options.command == "find":
        check_threshold(parser, options)
        if options.top < 1:
            parser.error("--top is at least 1")
    return options


def enrol(options: argparse.Namespace, out: Path, console: Console) -> dict[str, Any]:
    """Write the index of a folder of people to `out`; what `result.json` says.

    Raises:
        DataError: images that give no face, unless the command line allows missing ones; images beside the folders.
    """
    model = pipeline.open_for(options, console)
    faces, embeddings, images_per_second = embed_photographs([options.people], model, options, console)
    lost = [*(() if options.undetected != "refuse" else faces.without_face), *faces.unreadable]
    if lost and not options.allow_missing:
        raise DataError(
            f"{options.people}: {len(lost):,} of {len(faces.photographs):,} pictures give no face, the first is "
            f"{lost[0]}; replace them, or --allow-missing to enrol people by their other pictures."
        )
    pictures = tuple(faces.photographs[row] for row in faces.photograph)
    here = Path(printable(str(options.people)))
    astray = [name for name in pictures if Path(name).parent.parent != here]
    if astray:
        raise DataError(f"{astray[0]}: is not in a person's folder; {options.people}/PERSON/IMAGE is expected.")
    people, person = np.unique(np.array([faces.folder(face) for face in range(len(faces))]), return_inverse=True)
    absent = sorted(_folders(options.people) - set(people.tolist()))
    if absent:
        console.print(f"  not enrolled, no usable picture in the folder: {few_names(absent)}")
    passed_over.tell_alike(console, people.tolist(), "are enrolled as different people")
    stored = one_byte.to_bytes(embeddings) if options.one_byte else embeddings.astype(np.float32)
    index = Index(stored, person, tuple(people.tolist()), pictures, made_by(model, options))
    write_index(out / INDEX, index)
    forgetting.forget_replaced(options.out / INDEX, index, options.cache, console)
    console.print(f"{len(people):,} people enrolled by {counted(len(person), 'pictures')}")
    if options.one_byte:
        cosine = np.einsum("nd,nd->n", index.vectors(), unit_rows(embeddings, "enrolled"))  # (images,)
        console.print(f"  in one byte a dimension; the cosine to what was rounded is at least {cosine.min():.5f}")
    return {
        "people": len(people),
        "pictures": len(person),
        "left_out": faces.left_out,
        "people_left_out": absent,
        "several": len(faces.several) if faces.looked else None,
        **pipeline.record(model, images_per_second, options),
    }


def _folders(people: Path) -> set[str]:
    """Names of the people's folders, with images or without."""
    return {printable(entry.name) for entry in scan(people) if classify(entry)[0] == "folder"}


def find(options: argparse.Namespace, out: Path, console: Console) -> dict[str, Any]:
    """Write the matches of photographs to `out`; what `result.json` says.

    Raises:
        ConfigError: the index was made by other weights, another preprocessing or another detector.
    """
    index = read_index(options.index)
    model = pipeline.open_for(options, console)
    threshold = verification_threshold(options.threshold, model)
    check_same(options.index, index.made_by, made_by(model, options))
    faces, embeddings, images_per_second = embed_photographs(options.photographs, model, options, console)
    matches = [
        {**faces.entry(face), "person": ranked[0]["person"] if known else None, "ranked": ranked}
        for face, ranked in enumerate(rank_people(index, embeddings, options.top))
        for known in [ranked[0]["score"] >= threshold]
    ]
    known = sum(match["person"] is not None for match in matches)
    of_photograph: list[list[dict[str, Any]]] = [[] for _ in faces.photographs]
    for row, match in zip(faces.photograph, matches, strict=True):
        of_photograph[row].append(match)
    _print_matches(faces, matches, console)
    lines = [
        {"photograph": name, "size": size and list(size), "faces": found}
        for name, size, found in zip(faces.photographs, faces.sizes, of_photograph, strict=True)
    ]
    write_text(out / "matches.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    console.print(f"{counted(known, faces.noun)} of people that are enrolled, {len(faces) - known:,} of nobody known")
    return {
        **faces.record(),
        "known": known,
        "unknown": len(faces) - known,
        "people": len(index.people),
        "threshold": threshold,
        **pipeline.record(model, images_per_second, options),
    }


def _print_matches(faces: Faces, matches: Sequence[dict[str, Any]], console: Console) -> None:
    """Name the first faces; one of several in a photograph by its place from the left."""
    for face, match in enumerate(matches[:SHOWN]):
        best = match["ranked"][0]
        who = match["person"] or f"unknown, nearest {best['person']}"
        beside = np.flatnonzero(faces.photograph == faces.photograph[face])
        place = int(np.sum(faces.boxes[beside, 0] < faces.boxes[face, 0])) + 1
        where = f", face {place} of {len(beside)} from the left" if len(beside) > 1 else ""
        console.print(f"  {faces.photographs[faces.photograph[face]]}{where}: {who}, {best['score']:.3f}")
    if len(matches) > SHOWN:
        console.print(f"  and {len(matches) - SHOWN:,} more")


def rank_people(index: Index, probes: np.ndarray, top: int) -> list[list[dict[str, Any]]]:
    """The people nearest to each probe, each by the most similar image: person, score, image; best first."""
    pictures = np.sort(np.bincount(index.person))[::-1]
    top = min(top, len(index.people))
    k = int(pictures[: top - 1].sum()) + 1  # so many images cannot be of fewer people
    found = gallery.search(probes, index.vectors(), k)
    ranked = []
    for scores, rows in zip(found.score.tolist(), found.row.tolist(), strict=True):
        best: dict[int, dict[str, Any]] = {}
        for score, row in zip(scores, rows, strict=True):
            person = int(index.person[row])
            match = {"person": index.people[person], "score": round(score, 6), "picture": index.pictures[row]}
            best.setdefault(person, match)
        ranked.append(list(best.values())[:top])
    return ranked


if __name__ == "__main__":
    cli.run(main)
