"""Find the faces in photographs, and draw them.

    python -m experiments.detect IMAGES... --out DIR [--detector NAME] [--detector-weights FILE]
        [--detector-network NAME] [--confidence X] [--select RULE] [--longest-side N] [--sheet N] [--overwrite]

IMAGES are files, and folders that are searched with all they contain (`faces.data.photographs`). DIR receives

- `detections.jsonl`: a line for each image, with the SHA-256 of its file, its size (height, width) and its faces, best
  first: score, box (left, top, right, bottom) and five points (x, y) in pixels, 0 being the centre of the first pixel;
- `sheet.png`: some of the images with their boxes and points;
- `quarantine.csv`: the images that could not be decoded, and why;
- `left_out.csv`: what lies in the folders and is no photograph, and why it is passed over;
- `settings.json`: detector, hash of its weights, options.

Ctrl-C loses at most a few dozen images: the same command goes on where it was stopped, and looks again at images that
have changed. Another detector, or other options, need another DIR or `--overwrite`.
"""

import argparse
import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.common import passed_over
from experiments.common.arguments import NETWORK_HELP, WEIGHTS_HELP, add_manifest, detector, place
from faces import cli
from faces.continued import continued
from faces.data.chunks import chunks
from faces.data.images import LARGEST_FILE, decode_image, read_file
from faces.data.photographs import find_photographs, printable
from faces.detect.detections import ALL, RULES, Detections, select
from faces.detect.sheet import draw_sheet
from faces.errors import DataError, ImageError
from faces.opening import parse_json, read_bytes
from faces.outputs import append_text, write_text
from faces.run_record import LARGEST_LOG
from faces.terminal import make_console, make_progress
from recognizer.detector_identity import NETWORKS, remark
from recognizer.detectors import EDITION, digest, open_detector
from recognizer.manifest import find_detector

FILES = ("detections.jsonl", "sheet.png", "quarantine.csv", "left_out.csv")
CHUNK = 64
"""Images read, looked at and written at a time; of large ones fewer."""
SHOWN = 20  # quarantined images named on the screen; the rest are counted


def main(arguments: list[str]) -> None:
    """Parse, then look at the images that are not done, with a folder for the results."""
    args = parse(arguments)
    there = find_photographs([Path(given) for given in args.images])
    files = by_name(there.files)
    if args.detector_weights is None:
        args.detector_weights = find_detector(args.detector, args.manifest)
    settings = {"detector": args.detector, "edition": EDITION, "weights": digest(args.detector_weights)}
    settings |= {"select": args.select, "longest_side": args.longest_side, "confidence": args.confidence}
    with (
        cli.interruptible(f"The images that were looked at are in {args.out}."),
        continued(args.out, settings, FILES, args.overwrite),
    ):
        detect_all(args, files, there.passed_over, make_console())


def by_name(files: Iterable[Path]) -> dict[str, Path]:
    """Files by the names that they are printed and recorded with.

    Raises:
        DataError: two files have one such name.
    """
    named: dict[str, Path] = {}
    for file in files:
        name = printable(str(file))
        if named.setdefault(name, file) != file:
            raise DataError(f"{name}: is the name of two files, as it is written; rename one of them.")
    return named


def detect_all(
    args: argparse.Namespace, files: dict[str, Path], left_out: Mapping[str, str], console: Console
) -> None:
    """Look at the images that are not in the log yet, and report on all, and on what is no image."""
    log = args.out / FILES[0]
    lines = done_before(log, files)
    left = [name for name in files if name not in lines]
    if len(left) < len(files):
        console.print(f"{len(files) - len(left):,} of {len(files):,} images are in {args.out} already")
    of_it = (args.longest_side, args.confidence, args.detector_network)
    detect = open_detector(args.detector, args.detector_weights, *of_it, manifest=args.manifest)
    if said := remark(args.detector, args.detector_weights, args.detector_network, args.manifest):
        console.print(said)
    quarantined = dict[str, str]()
    with make_progress(console) as bar:
        decoded = read(bar.track(left, description="detecting"), files, quarantined)
        for group in chunks(decoded, lambda one: one[2].shape[0] * one[2].shape[1], CHUNK):
            found = detect([image for _, _, image in group])
            new = {
                name: to_line(name, sha256, image, faces, args.select)
                for (name, sha256, image), faces in zip(group, found, strict=True)
            }
            append_text(log, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in new.values()))
            lines |= new
    done = [lines[name] for name in files if name in lines]
    if args.sheet and done:
        drawn = draw_some(done, files, args.out / FILES[1], args.sheet)
        console.print(f"{FILES[1]}: {drawn:,} of {len(done):,} images")
    report(console, done, quarantined, left_out, args.out)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line, checked as far as it can be without looking at files."""
    parser = argparse.ArgumentParser(prog="python -m experiments.detect", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="image files, and folders to search")
    parser.add_argument("--detector", type=detector, default="mtcnn", metavar="NAME",
                        help="mtcnn (the default), retinaface or scrfd")  # fmt: skip
    parser.add_argument("--detector-weights", type=Path, metavar="FILE", help=WEIGHTS_HELP)
    add_manifest(parser)
    parser.add_argument("--detector-network", choices=NETWORKS, help=NETWORK_HELP)
    parser.add_argument("--out", type=place, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--confidence", type=float, metavar="X", help="least score of a face, between 0 and 1 "
                        "(default: as published, 0.5, of mtcnn's last network 0.7)")  # fmt: skip
    parser.add_argument("--select", choices=(ALL, *RULES), default=ALL, help="which face of several (default: all)")
    parser.add_argument("--longest-side", type=int, metavar="N", help="reduce larger images to N pixels first")
    parser.add_argument("--sheet", type=int, default=40, metavar="N", help="images on the sheet (default 40)")
    parser.add_argument("--overwrite", action="store_true", help="replace the results that DIR holds, and begin anew")
    args = parser.parse_args(arguments)
    if args.longest_side is not None and args.longest_side < 1:
        parser.error(f"--longest-side {args.longest_side}: at least 1 pixel is expected")
    if args.confidence is not None and not 0 < args.confidence < 1:
        parser.error(f"--confidence {args.confidence}: a score between 0 and 1 is expected")
    if args.sheet < 0:
        parser.error(f"--sheet {args.sheet}: a number of images is expected")
    return args



def done_before(log: Path, files: dict[str, Path]) -> dict[str, Any]:
    """The lines of an earlier part of the work, by the images' names, without those of images that have changed since.

    The half of a line that a kill may have left at the end is taken away.

    Raises:
        DataError: another line is none of this command.
    """
    try:
        texts = read_bytes(log, LARGEST_LOG).splitlines(keepends=True)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DataError(f"{log}: cannot be read ({error.strerror}).") from None
    kept = dict[str, Any]()
    for number, text in enumerate(texts, start=1):
        try:
            line = parse_json(text)
            from_line(line)
            name, seen = str(line["image"]), str(line["sha256"])
        except (ValueError, KeyError, TypeError):
            if number == len(texts) and not text.endswith(b"\n"):
                break
            raise DataError(
                f"{log}, line {number}: is none that this command wrote, or damaged; take the line out, and its image "
                "is looked at again."
            ) from None
        if name not in files or _digest(files[name]) == seen:
            kept[name] = line
    write_text(log, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept.values()))
    return kept


def _digest(file: Path) -> str | None:
    """SHA-256 of a file; None of one that cannot be read, which reading it then tells."""
    try:
        return hashlib.sha256(read_bytes(file, LARGEST_FILE)).hexdigest()
    except OSError:
        return None


def read(
    names: Iterable[str], files: Mapping[str, Path], quarantined: dict[str, str]
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Name, SHA-256 of the file and pixels of the images that can be decoded, one by one; others to `quarantined`."""
    for name in names:
        try:
            content = read_file(files[name], name)
            yield name, hashlib.sha256(content).hexdigest(), decode_image(content, name)
        except ImageError as error:
            quarantined[name] = str(error).removeprefix(f"{name}: ")


def to_line(name: str, sha256: str, image: np.ndarray, found: Detections, rule: str) -> dict[str, Any]:
    """One image's entry, as JSON holds it; a thousandth of a pixel is as much as the numbers are worth."""
    chosen = range(len(found))
    if rule != ALL:
        face = select(found, rule, image.shape[:2])  # type: ignore[arg-type]
        chosen = [] if face is None else [face]
    faces = [
        {
            "score": round(float(found.scores[face]), 6),
            "box": np.round(found.boxes[face].astype(float), 3).tolist(),
            "points": np.round(found.points[face].astype(float), 3).tolist(),
        }
        for face in chosen
    ]
    return {"image": name, "sha256": sha256, "size": list(image.shape[:2]), "faces": faces}


def from_line(line: dict[str, Any]) -> Detections:
    """What `to_line` wrote."""
    faces = line["faces"]
    return Detections(
        np.array([face["box"] for face in faces], np.float32).reshape(-1, 4),
        np.array([face["points"] for face in faces], np.float32).reshape(-1, 5, 2),
        np.array([face["score"] for face in faces], np.float32),
    )


def draw_some(lines: Sequence[dict[str, Any]], files: Mapping[str, Path], path: Path, shown: int) -> int:
    """Draw so many of the images, evenly from all, with their faces; how many, as one may be gone by now."""
    some = {lines[i]["image"]: lines[i] for i in np.unique(np.linspace(0, len(lines) - 1, shown).round().astype(int))}
    return draw_sheet(((image, from_line(some[name])) for name, _, image in read(some, files, {})), path)


def report(
    console: Console,
    lines: Sequence[dict[str, Any]],
    quarantined: Mapping[str, str],
    left_out: Mapping[str, str],
    out: Path,
) -> None:
    """Write the lists of bad images and of what is none, and print the counts."""
    for name, reasons in zip(FILES[2:], (quarantined, left_out), strict=True):
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows([("image", "reason"), *reasons.items()])
        write_text(out / name, table.getvalue())
    counts = [len(line["faces"]) for line in lines]
    console.print(
        f"{sum(counts):,} faces in {len(counts):,} images; without a face: {counts.count(0):,}, with more than one: "
        f"{sum(count > 1 for count in counts):,}"
    )
    console.print(f"quarantined: {len(quarantined):,}")
    for name, reason in list(quarantined.items())[:SHOWN]:
        console.print(f"  {name}: {reason}")
    if len(quarantined) > SHOWN:
        console.print(f"  and {len(quarantined) - SHOWN:,} more")
    passed_over.tell(console, left_out)
    console.print(f"written to {out}")


if __name__ == "__main__":
    cli.run(main)
