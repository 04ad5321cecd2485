"""Find people of one set who are in another too: `python -m experiments.overlap TRAIN EVAL --out DIR`.

A test on people whom the training has seen tests nothing. People of TRAIN whom EVAL seems to contain are proposed, by
their names, by the cosine of their centres and by the highest cosine of two of their images; nothing is changed or
deleted. Both are labelled faces of any kind that `experiments.prepare` reads; EVAL may be a .bin file of pairs, which
names nobody. Photographs are searched for faces and aligned as `experiments.evaluate` does, aligned faces are taken as
they are.

Of hundreds of millions of pairs of images a cosine that is right for two faces proposes tens of thousands of
strangers. So the pairs of different people within each set say from which cosine on only `--false` of all compared
pairs of strangers are to be expected. DIR receives

- `overlap.csv`: a line for each pair of people, the likeliest first;
- `pairs.png`, or several: the same in pictures, side by side;
- `result.json`, the line that is printed last, and `environment.json`.

Look at the sheets, delete from `overlap.csv` the lines that you do not believe, and leave the others out of the
training set with `python -m experiments.prepare TRAIN --without overlap.csv`.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.common import passed_over, pipeline
from experiments.common.face_sets import Cutter, EmbeddedSet, FaceSet, embed_set, open_face_set, some_of_each
from experiments.common.overlap_lines import BY_NAME, CENTRES, IMAGES, Line, levels, lines_of, table_of
from experiments.common.pair_sheets import EACH, Side, draw_pairs
from experiments.common.photographs import counted
from experiments.common.results import deliver
from experiments.common.threshold import add_threshold, check_threshold
from faces import cli
from faces.data.person_names import Alike, alike_names, are_numbers
from faces.errors import DataError
from faces.outputs import write_text
from faces.preprocessing import WHOLE
from faces.terminal import make_console
from recognizer.cached_embedder import CachedEmbedder

SETS = ("train", "eval")
LIST = "overlap.csv"
SHOWN = 20
"""Pairs that are printed; all are in the list."""


def main(arguments: list[str]) -> None:
    """Parse, then compare with a folder for the results."""
    options, console = parse(arguments), make_console()
    if options.train.resolve() == options.eval.resolve():
        raise DataError(f"{options.train}: is both sets; name two.")
    pipeline.check_apart(options, options.train, options.eval)
    deliver(options, console, lambda out: overlap(options, out, console))


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.overlap", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("train", type=Path, metavar="TRAIN", help="labelled faces, whose people are proposed")
    parser.add_argument("eval", type=Path, metavar="EVAL", help="labelled faces, or a .bin file of pairs")
    parser.add_argument("--false", type=float, default=10.0, metavar="N", help="pairs of strangers to expect among "
                        "all that are compared, of images and of centres each (%(default)g)")  # fmt: skip
    add_threshold(parser)
    parser.add_argument("--candidates", type=int, default=3, metavar="N", help="of EVAL for a person of TRAIN, at "
                        "most (%(default)s)")  # fmt: skip
    parser.add_argument("--images", type=int, metavar="N", help="of each person of TRAIN at most, drawn by --seed "
                        "(default all)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (%(default)s)")
    parser.add_argument("--aligned", nargs="+", choices=SETS, default=[], metavar="SET", help="train, eval or both: "
                        "the images are faces cut out already, as is known of records, .bin files, and prepared sets "
                        "that say so")  # fmt: skip
    parser.add_argument("--aligned-box", type=float, nargs=4, default=list(WHOLE),
                        metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"), help="part of such images that the model is shown, "
                        "as fractions of width and height (default all)")  # fmt: skip
    pipeline.add_options(parser, refuses=False)
    options = parser.parse_args(arguments)
    pipeline.check_options(parser, options)
    check_threshold(parser, options)
    if not 0 < options.false < math.inf:
        parser.error("--false is a number of pairs, more than 0")
    if options.candidates < 1 or (options.images is not None and options.images < 1) or options.seed < 0:
        parser.error("--candidates and --images are 1 or more, and --seed is not negative")
    options.aligned_box = left, top, right, bottom = tuple(options.aligned_box)
    if not (left < right and top < bottom):
        parser.error("--aligned-box: LEFT < RIGHT and TOP < BOTTOM expected")
    options.photographs = [options.train, options.eval]
    return options


def overlap(options: argparse.Namespace, out: Path, console: Console) -> dict[str, Any]:
    """Compare names, embed, compare, write; what `result.json` says."""
    sets = [
        open_face_set(path, name in options.aligned, console)
        for name, path in zip(SETS, options.photographs, strict=True)
    ]
    named = names_in_both(sets[0], sets[1], console)
    all_aligned = all(faces.aligned for faces in sets)
    model = pipeline.open_for(options, console, all_aligned)
    search = pipeline.open_search(options, model.preprocessing, all_aligned)
    cut = Cutter(search, model.preprocessing, options.aligned_box, options, console)
    embed = CachedEmbedder(model, options.cache)
    seen = list[EmbeddedSet]()
    for faces, most in zip(sets, (options.images, None), strict=True):
        rows = some_of_each(faces.source.identities, most, options.seed)
        seen.append(embed_set(faces, rows, cut, embed, console))
        tell(seen[-1], len(rows), console)
    train, test = seen
    images, centres = levels(seen, model, options.threshold, options.false, options.seed)
    console.print(images.said())
    console.print(centres.said())
    lines = lines_of(train, test, images, centres, named, options.candidates)
    write_text(out / LIST, table_of(lines, train, test))
    people = sorted({line.names[0] for line in lines})
    in_train = np.isin(np.array(train.faces.source.identity_names), people)
    lost = int(in_train[train.faces.source.identities].sum())
    report(lines, len(people), lost, options, console)
    if lines:
        pictures = (side(number, line, train, test, cut) for number, line in enumerate(lines, 2))
        head = f"line of {LIST}, scores", *(place.absolute().name for place in options.photographs)
        console.print(draw_pairs(pictures, len(lines), head, out))
    return {
        "pairs": len(lines),
        "people": len(people),
        "images": lost,
        "found_by": {how: sum(how in line.found_by for line in lines) for how in (*BY_NAME.values(), CENTRES, IMAGES)},
        "images_compared": images.record(),
        "centres_compared": centres.record(),
        "false": options.false,
        "candidates": options.candidates,
        "sets": {name: one.record() for name, one in zip(SETS, seen, strict=True)},
        "left_out": {name: one.left_out for name, one in zip(SETS, seen, strict=True)},
        "images_of_each_of_train": options.images,
        "aligned_box": list(options.aligned_box),
        "seed": options.seed,
        **pipeline.record(model, embed.images_per_second, options),
    }


def names_in_both(train: FaceSet, test: FaceSet, console: Console) -> list[Alike]:
    """People of like names, by their labels; none where one of the sets does not name people."""
    for faces in (train, test):
        if not faces.names_people or are_numbers(faces.source.identity_names):
            console.print(f"by name: nothing to compare, the people of {faces.path} have numbers and no names")
            return []
    named = alike_names(train.source.identity_names, test.source.identity_names)
    same = sum(alike.likeness == "same" for alike in named)
    console.print(f"by name: {counted(same, 'pairs')} of people of the same name, {len(named) - same:,} of a near one")
    return named


def tell(one: EmbeddedSet, asked: int, console: Console) -> None:
    """Print what of a set is compared."""
    how = "aligned faces" if one.faces.aligned else "photographs"
    some = f" of {len(one.faces.source):,}" if asked < len(one.faces.source) else ""
    console.print(
        f"{one.faces.path}: {asked:,}{some} {how}, {counted(len(one.rows), 'faces')} of "
        f"{len(one.labels):,} people compared"
    )
    passed_over.tell(console, one.left_out, "not compared")


def report(lines: Sequence[Line], people: int, lost: int, options: argparse.Namespace, console: Console) -> None:
    """Print the likeliest pairs, how many there are, and what to do with them."""
    if not lines:
        console.print(f"nobody of {options.train} is proposed")
        return
    table = Table("person", "in EVAL", "found by", "cosine of centres", "of best images", "pairs above")
    for line in lines[:SHOWN]:
        scores = ("" if score is None else f"{score:.3f}" for score in (line.centre, line.best))
        table.add_row(*line.names, ", ".join(line.found_by), *scores, f"{line.above:,}")
    console.print(table)
    if len(lines) > SHOWN:
        console.print(f"and {len(lines) - SHOWN:,} more in {LIST}")
    whom = f"{people:,} {'person' if people == 1 else 'people'} of {options.train} with {counted(lost, 'images')}"
    console.print(
        f"{counted(len(lines), 'pairs')} proposed, {whom}. Look at the sheets, delete from {LIST} the lines that you "
        "do not believe, and leave the others out:\n"
        f"  python -m experiments.prepare {options.train} --without {options.out / LIST} --out DIR"
    )


def side(number: int, line: Line, train: EmbeddedSet, test: EmbeddedSet, cut: Cutter) -> Side:
    """A pair with its pictures, those of the highest cosine first."""
    scores = " ".join("-" if score is None else f"{score:.2f}" for score in (line.centre, line.best))
    pictures = []
    for one, person, best in ((train, line.first, line.image), (test, line.second, line.other)):
        images = np.empty(0, np.int64) if person is None else one.images_of(person)
        images = images[np.argsort(images != best, kind="stable")][:EACH]
        pictures.append(cut(one.faces, one.rows[images], LIST)[0])
    return Side((f"{number}: {scores} {'+'.join(line.found_by)}", *line.names), *pictures)


if __name__ == "__main__":
    cli.run(main)
