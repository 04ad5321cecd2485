"""Turn a folder of photographs, LFW or InsightFace records into a dataset to train on and to evaluate with.

    python -m experiments.prepare SOURCE --out DIR [--size N] [--crop LEFT TOP RIGHT BOTTOM] [--kind KIND] [--overwrite]
        [--hold-out 0.1] [--without overlap.csv]

Every image is decoded once, here. One that cannot be is named, with the reason, in the summary and in
DIR/quarantine.csv. With `--hold-out` a part of the people goes to DIR/held_out instead, with pairs of them, which
`--eval dev=DIR/held_out` takes: nothing needs to be chosen on LFW. DATA.md describes the formats and the rules.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.common import held_out, left_out, passed_over
from experiments.common.arguments import place
from faces import cli
from faces.data.open import KINDS, Opened, open_source
from faces.data.preparing import Summary, write_prepared
from faces.errors import DataError
from faces.terminal import make_console, make_progress

ALIGNED = 512
"""Longest side, in pixels, that sets of cut-out faces have."""
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
    aligned = opened.aligned
    if args.without:
        opened = left_out.leave_out(opened, args.without, console)
    opened, finish = held_out.split(opened, args, console) if args.hold_out else (opened, held_out.nobody)
    with make_progress(console) as bar:
        task = bar.add_task("preparing", total=len(opened.source))
        summary = write_prepared(
            opened.source,
            out,
            crop=args.crop,
            size=args.size,
            pair_lists=opened.pair_lists,
            aligned=aligned,
            overwrite=args.overwrite,
            progress=lambda done: bar.update(task, completed=done),
            finish=finish,
        )
    report(console, opened, summary, args.crop is not None or args.size is not None, out)


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
    parser.add_argument("--without", type=Path, nargs="+", default=[], metavar="FILE", help="leave out whom a list of "
                        "experiments.overlap names, or a name a line, or the images of a column image")  # fmt: skip
    parser.add_argument("--hold-out", type=float, default=0.0, metavar="PART", help="keep this part of the people "
                        "apart, in DIR/held_out, with a list of pairs to choose by")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of who is held out, and of the pairs (default 0)")
    args = parser.parse_args(arguments)
    if not 0 <= args.hold_out < 1 or args.seed < 0:
        parser.error("--hold-out is a part of the people, from 0 to below 1, and --seed is not negative")
    if args.size is not None and not 1 <= args.size <= 4096:
        parser.error(f"--size {args.size}: 1 to 4096 pixels expected")
    if args.crop is not None:
        args.crop = left, top, right, bottom = tuple(args.crop)
        if not (0 <= left < right and 0 <= top < bottom):
            parser.error(f"--crop {left} {top} {right} {bottom}: 0 <= LEFT < RIGHT and 0 <= TOP < BOTTOM expected")
    return args


def report(console: Console, opened: Opened, summary: Summary, is_cut: bool, out: Path) -> None:
    """Print what was prepared, whether it was `is_cut` to one size or stored as it was, and what was not prepared."""
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
    if remark := whole_photographs(summary.sizes, is_cut):
        console.print(remark)
    for pair_list in opened.pair_lists:
        console.print(f"kept beside them: {pair_list.name}")
    console.print(f"quarantined: {len(summary.quarantined):,}")
    for name, reason in summary.quarantined[:SHOWN]:
        console.print(f"  {name}: {reason}")
    if len(summary.quarantined) > SHOWN:
        console.print(f"  and {len(summary.quarantined) - SHOWN:,} more")
    passed_over.tell(console, opened.ignored)
    passed_over.tell_alike(console, opened.source.identity_names, "are different people here")
    console.print(f"written to {out}")


def whole_photographs(sizes: Mapping[tuple[int, int], int], is_cut: bool) -> str:
    """What must be said of images of several sizes, or of large ones, which aligned faces never are; "" of others.

    Args:
        sizes: height and width of images as they came, and how many have it.
        is_cut: whether they were cropped or resized.
    """
    small, large = min(sizes, key=_area), max(sizes, key=_area)
    if small == large and max(large) <= ALIGNED:
        return ""
    those = f"{small[0]}x{small[1]}" + ("" if small == large else f" to {large[0]}x{large[1]}")
    taken = "the same part of each was taken" if is_cut else "stored as they are, and training takes the same part"
    return (
        f"images of {those} pixels (height x width, {len(sizes):,} in all): {taken}, wherever the face is; no face was "
        "looked for. If they are whole photographs, train on faces that are cut out of them and aligned, of one size."
    )


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


if __name__ == "__main__":
    cli.run(main)
