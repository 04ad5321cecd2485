"""Who is it: enrol people once, then look for the faces of photographs among them.

    python -m experiments.search enrol PEOPLE --weights MODEL --out DIR
    python -m experiments.search find PHOTOGRAPHS... --index DIR/index.npz --weights MODEL --threshold COS --out DIR

PEOPLE holds a folder for each person, PERSON/IMAGE. Enrolling writes `index.npz`, their embeddings with names and with
what made them: the same weights and preprocessing are then asked for. A person's score is that of his most similar
picture; whose best score is below the threshold is unknown. Finding writes `matches.jsonl`, a line for each photograph:
its name, `person` (null if unknown), and the ranked people with score and picture. Faces are found, aligned and
embedded as `experiments.evaluate` does; both leave `result.json`, the line that is printed last, and
`environment.json`.
"""

import argparse
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments import pipeline
from experiments.photographs import find_faces
from experiments.published import Model
from faces import cli, gallery
from faces.config import flatten
from faces.errors import ConfigError, DataError
from faces.outputs import write_json, write_npz, write_text
from faces.run_record import environment
from faces.terminal import make_console

INDEX = "index.npz"
SHOWN = 20  # photographs whose match is printed; the file has all


@dataclass(frozen=True)
class Index:
    """Enrolled people.

    Args:
        embeddings: float32 (pictures, d), of length 1.
        person: number of each picture's person, int64 (pictures,).
        people: their names.
        pictures: path of each picture.
        made_by: weights and preprocessing, as one line.
    """

    embeddings: np.ndarray
    person: np.ndarray
    people: tuple[str, ...]
    pictures: tuple[str, ...]
    made_by: str


def main(arguments: list[str]) -> None:
    """Parse, then enrol or find."""
    options = parse(arguments)
    console = make_console()
    result = enrol(options, console) if options.command == "enrol" else find(options, console)
    write_json(options.out / "result.json", result)
    write_json(options.out / "environment.json", environment())
    console.print(f"everything is in {options.out}")
    print("result: " + json.dumps(result), flush=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.search", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True)
    enrolling = commands.add_parser("enrol", allow_abbrev=False, help="people to an index")
    enrolling.add_argument("people", type=Path, metavar="PEOPLE", help="a folder for each person")
    finding = commands.add_parser("find", allow_abbrev=False, help="photographs to names")
    finding.add_argument("photographs", nargs="+", type=Path, metavar="PHOTOGRAPHS", help="files and folders")
    finding.add_argument("--index", type=Path, required=True, metavar="FILE", help=f"the {INDEX} of enrolled people")
    finding.add_argument("--threshold", type=float, required=True, metavar="COS",
                         help="cosine below which a face is of nobody known")  # fmt: skip
    finding.add_argument("--top", type=int, default=5, metavar="N", help="people to rank (%(default)s)")
    for command in (enrolling, finding):
        pipeline.add_options(command)
    options = parser.parse_args(arguments)
    pipeline.check_options(parser, options)
    options.data = options.people if options.command == "enrol" else options.photographs[0]
    if options.command == "find" and (options.top < 1 or not -1 <= options.threshold <= 1):
        parser.error("--top is at least 1, and --threshold a cosine, -1 to 1")
    return options


def enrol(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Write the index of a folder of people; what `result.json` says.

    Raises:
        DataError: pictures that give no face, unless the command line allows missing ones; pictures beside the folders.
    """
    model = pipeline.open_for(options, console)
    faces = find_faces([options.people], model, options, console)
    lost = [*(() if options.undetected != "refuse" else faces.without_face), *faces.unreadable]
    if lost and not options.allow_missing:
        raise DataError(
            f"{options.people}: {len(lost):,} of {faces.photographs:,} pictures give no face, the first is {lost[0]}; "
            "replace them, or --allow-missing to enrol people by their other pictures."
        )
    astray = [name for name in faces.names if Path(name).parent.parent != options.people]
    if astray:
        raise DataError(f"{astray[0]}: is not in a person's folder; {options.people}/PERSON/IMAGE is expected.")
    people, person = np.unique(np.array(faces.folders), return_inverse=True)
    options.out.mkdir(parents=True, exist_ok=True)
    write_index(
        options.out / INDEX,
        Index(faces.embeddings, person, tuple(people.tolist()), faces.names, made_by(model)),
    )
    console.print(f"{len(people):,} people enrolled by {len(person):,} pictures")
    return {
        "people": len(people),
        "pictures": len(person),
        "left_out": len(lost),
        **pipeline.record(model, faces.images_per_second, options),
    }


def find(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Write the matches of photographs; what `result.json` says.

    Raises:
        ConfigError: the index was made by other weights or another preprocessing.
    """
    index = read_index(options.index)
    model = pipeline.open_for(options, console)
    if made_by(model) != index.made_by:
        raise ConfigError(
            f"{options.index}: was made by {index.made_by}, not by {made_by(model)}; give the same weights and "
            "options, or enrol anew."
        )
    faces = find_faces(options.photographs, model, options, console)
    ranked = rank_people(index, faces.embeddings, options.top)
    lines, unknown = [], 0
    for name, matches in zip(faces.names, ranked, strict=True):
        known = matches[0]["score"] >= options.threshold
        unknown += not known
        lines.append({"photograph": name, "person": matches[0]["person"] if known else None, "ranked": matches})
    for line in lines[:SHOWN]:
        best = line["ranked"][0]
        who = line["person"] or f"unknown, nearest {best['person']}"
        console.print(f"  {line['photograph']}: {who}, {best['score']:.3f}")
    if len(lines) > SHOWN:
        console.print(f"  and {len(lines) - SHOWN:,} more")
    lines += [{"photograph": name, "person": None, "ranked": []} for name in (*faces.without_face, *faces.unreadable)
              if name not in set(faces.names)]  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    write_text(options.out / "matches.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    console.print(f"{len(faces.names) - unknown:,} faces of people that are enrolled, {unknown:,} of nobody known")
    return {
        "photographs": faces.photographs,
        "faces": len(faces.names),
        "known": len(faces.names) - unknown,
        "unknown": unknown,
        "without_face": len(faces.without_face),
        "unreadable": len(faces.unreadable),
        "people": len(index.people),
        "threshold": options.threshold,
        **pipeline.record(model, faces.images_per_second, options),
    }


def rank_people(index: Index, probes: np.ndarray, top: int) -> list[list[dict[str, Any]]]:
    """The people nearest to each probe, each by the most similar picture: person, score, picture; best first."""
    pictures = np.sort(np.bincount(index.person))[::-1]
    top = min(top, len(index.people))
    k = int(pictures[: top - 1].sum()) + 1  # so many pictures cannot be of fewer people
    found = gallery.search(probes, index.embeddings, k)
    ranked = []
    for scores, rows in zip(found.score.tolist(), found.row.tolist(), strict=True):
        best: dict[int, dict[str, Any]] = {}
        for score, row in zip(scores, rows, strict=True):
            person = int(index.person[row])
            match = {"person": index.people[person], "score": round(score, 6), "picture": index.pictures[row]}
            best.setdefault(person, match)
        ranked.append(list(best.values())[:top])
    return ranked


def made_by(model: Model) -> str:
    """Weights and preprocessing as one line, which an index and its probes must share."""
    how = ", ".join(f"{key} {value}" for key, value in flatten(model.preprocessing).items())
    return f"{model.name}, weights {model.description.origin.sha256[:16]}, {how}"


def write_index(path: Path, index: Index) -> None:
    """Write an index, whole or not at all."""
    arrays = {
        "embeddings": index.embeddings.astype(np.float32),
        "person": index.person.astype(np.int64),
        "people": np.array(index.people, str),
        "pictures": np.array(index.pictures, str),
        "made_by": np.array(index.made_by, str),
    }
    write_npz(path, arrays)


def read_index(path: Path) -> Index:
    """What `write_index` wrote.

    Raises:
        DataError: no such file, or another one.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            index = Index(
                stored["embeddings"],
                stored["person"],
                tuple(stored["people"].tolist()),
                tuple(stored["pictures"].tolist()),
                str(stored["made_by"]),
            )
        rows = len(index.pictures)
        fits = (
            index.embeddings.dtype == np.float32
            and index.embeddings.ndim == 2
            and index.person.dtype == np.int64
            and index.person.shape == (rows,)
            and len(index.embeddings) == rows > 0
            and int(index.person.min()) >= 0
            and int(index.person.max()) < len(index.people)
        )
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; enrol people first.") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        fits = False
    if not fits:
        raise DataError(f"{path}: is no index of enrolled people, or damaged; enrol anew.")
    return index


if __name__ == "__main__":
    cli.run(main)
