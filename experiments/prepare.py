"""Turn a folder of photographs, LFW or InsightFace records into a dataset to train on and to evaluate with.

    python -m experiments.prepare SOURCE --out DIR [--size N] [--crop LEFT TOP RIGHT BOTTOM] [--kind KIND] [--overwrite]

Every image is decoded once, here. One that cannot be is named, with the reason, in the summary and in
DIR/quarantine.csv. DATA.md describes the formats and the rules.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments import passed_over
from experiments.arguments import place
from faces import cli
from faces.data.open import KINDS, Opened, open_source
from faces.data.preparing import Summary, write_prepared
from faces.errors import DataError
from faces.terminal import make_console, make_progress

SHOWN = 20  # quarantined files named on the screen; the rest are counted
BINS = (
    ("1", 1, 1),
    ("2 to 3", 2, 3),
    ("4 to 9", 4, 9),
    ("10 to 19", 10, 19),
    ("20 to 49", 20, 49),
    ("50 to 99", 50, 99),
    ("100 or more", 100, np.inf),
)


def main(arguments: list[str]) -> None:
    args = parse(arguments)
    console = make_console()
    out = args.out
    if out.resolve() == Path(args.source).resolve():
        raise DataError(f"{out}: is the source itself; name another folder with --out.")
    opened = open_source(args.source, args.kind)
    with make_progress(console) as bar:
        task = bar.add_task("preparing", total=len(opened.source))
        summary = write_prepared(
            opened.source,
            out,
            crop=args.crop,
            size=args.size,
            pair_lists=opened.pair_lists,
            overwrite=args.overwrite,
            progress=lambda done: bar.update(task, completed=done),
        )
    report(console, opened, summary, out)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line, checked as far as it can be without looking at files."""
    parser = argparse.ArgumentParser(prog="python -m experiments.prepare", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("source", help="folder of IDENTITY/IMAGE.jpg, LFW with pairs.txt, .rec file or its folder")
    parser.add_argument("--out", type=place, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--size", type=int, metavar="N", help="resize the central square of each image to N x N pixels")
    edges = ("LEFT", "TOP", "RIGHT", "BOTTOM")
    parser.add_argument("--crop", type=int, nargs=4, metavar=edges, help="first cut each image to this box, in pixels")
    parser.add_argument("--kind", choices=KINDS, help="what SOURCE is (default: found out)")
    parser.add_argument("--overwrite", action="store_true", help="replace the results that DIR holds")
    args = parser.parse_args(arguments)
    if args.size is not None and not 1 <= args.size <= 4096:
        parser.error(f"--size {args.size}: 1 to 4096 pixels expected")
    if args.crop is not None:
        args.crop = left, top, right, bottom = tuple(args.crop)
        if not (0 <= left < right and 0 <= top < bottom):
            parser.error(f"--crop {left} {top} {right} {bottom}: 0 <= LEFT < RIGHT and 0 <= TOP < BOTTOM expected")
    return args


def report(console: Console, opened: Opened, summary: Summary, out: Path) -> None:
    """Print what was prepared, and what was not."""
    counts = summary.images_per_identity
    table = Table("images of a person", "people")
    for label, low, high in BINS:
        people = int(((counts >= low) & (counts <= high)).sum())
        if people:
            table.add_row(label, f"{people:,}")
    console.print(table)
    console.print(
        f"{counts.sum():,} images of {len(counts):,} people ({opened.kind}); "
        f"of a person: {counts.min()} to {counts.max()}, median {np.median(counts):g}, mean {counts.mean():.1f}"
    )
    for pair_list in opened.pair_lists:
        console.print(f"kept beside them: {pair_list.name}")
    console.print(f"quarantined: {len(summary.quarantined):,}")
    for name, reason in summary.quarantined[:SHOWN]:
        console.print(f"  {name}: {reason}")
    if len(summary.quarantined) > SHOWN:
        console.print(f"  and {len(summary.quarantined) - SHOWN:,} more")
    passed_over.tell(console, opened.ignored)
    console.print(f"written to {out}")


if __name__ == "__main__":
    cli.run(main)
