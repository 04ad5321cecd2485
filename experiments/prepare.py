"""Turn a folder of photographs, LFW or InsightFace records into a dataset to train on and to evaluate with.

    python -m experiments.prepare SOURCE --out DIR [--size N] [--crop LEFT TOP RIGHT BOTTOM] [--kind KIND] [--overwrite]
        [--hold-out 0.1] [--without overlap.csv]
    python -m experiments.prepare PHOTOGRAPHS --detector NAME --out DIR [--alignment NAME] [--select RULE]
        [--weights MODEL]

Every image is decoded once, here. One that cannot be is named, with the reason, in the summary and in
DIR/quarantine.csv. With `--detector` the face of each photograph is found, cut out and aligned; photographs that show
none, or too little of one, or what others show already are in quarantine too, DIR/coverage.csv says how much of each
person stays, and DIR/dropped.png shows the others. Stopped at any moment, the same command goes on where it was. With
`--hold-out` a part of the people goes to DIR/held_out instead, with pairs of them, which `--eval dev=DIR/held_out`
takes: nothing needs to be chosen on LFW. DATA.md describes the formats and the rules.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.common import align_options, align_report, aligning, held_out, left_out, passed_over
from experiments.common.aligning import Aligned
from experiments.common.arguments import place
from faces import cli
from faces.data.open import KINDS, Opened, open_several
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
    args, console = parse(arguments), make_console()
    for place_ in args.sources:
        if args.out.resolve() == Path(place_).resolve():
            raise DataError(f"{args.out}: is the source itself; name another folder with --out.")
    opened = open_several(args.sources, args.kind, args.merge_by_name)
    align_report.tell_joined(opened, args.merge_by_name, console)
    if args.detector is not None:
        aligning.check_places(opened, args)
    is_aligned, cut_as = opened.aligned, opened.cut_as
    if args.without:
        opened = left_out.leave_out(opened, args.without, console)
    if args.detector is None:
        is_cut = args.crop is not None or args.size is not None
        write(opened, args, console, is_aligned, None if is_cut else cut_as)
        return
    with aligning.aligned(opened, args, console) as aligned:
        write(aligned.opened, args, console, True, aligned.cut_as, aligned)


def write(
    opened: Opened,
    args: argparse.Namespace,
    console: Console,
    is_aligned: bool,
    cut_as: Mapping[str, Any] | None,
    aligned: Aligned | None = None,
) -> None:
    """Write the set, and say what it is; of faces that were cut out of photographs their lists and sheet as well.

    Args:
        opened: what stays.
        args: as parsed.
        console: what is printed to.
        is_aligned: whether the images are faces.
        cut_as: how they were cut out, where that is known.
        aligned: what became of the photographs.
    """
    opened, hold_out = held_out.split(opened, args, console, cut_as) if args.hold_out else (opened, held_out.nobody)

    def finish(folder: Path) -> None:
        hold_out(folder)
        if aligned:
            align_report.write_report(aligned, folder)

    with make_progress(console) as bar:
        task = bar.add_task("preparing", total=len(opened.source))
        summary = write_prepared(
            opened.source,
            args.out,
            crop=args.crop,
            size=args.size,
            pair_lists=opened.pair_lists,
            aligned=is_aligned,
            cut_as=cut_as,
            left_out=aligned.quarantined if aligned else (),
            overwrite=args.overwrite,
            progress=lambda done: bar.update(task, completed=done),
            finish=finish,
        )
    report(console, opened, summary, args, aligned)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line, checked as far as it can be without looking at files."""
    parser = argparse.ArgumentParser(prog="python -m experiments.prepare", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="folder of IDENTITY/IMAGE.jpg, LFW with "
                        "pairs.txt, .rec file or its folder; of several the people are different ones")  # fmt: skip
    parser.add_argument("--merge-by-name", action="store_true", help="people of one name in several SOURCEs are one")
    parser.add_argument("--out", type=place, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--size", type=int, metavar="N", help="resize the central square of each image to N x N "
                        "pixels; with --detector, the side of the face that is cut out")  # fmt: skip
    edges = ("LEFT", "TOP", "RIGHT", "BOTTOM")
    parser.add_argument("--crop", type=int, nargs=4, metavar=edges, help="first cut each image to this box, in pixels")
    parser.add_argument("--kind", choices=KINDS, help="what SOURCE is (default: found out)")
    parser.add_argument("--overwrite", action="store_true", help="replace the results that DIR holds")
    parser.add_argument("--without", type=Path, nargs="+", default=[], metavar="FILE", help="leave out whom a list of "
                        "experiments.overlap names, or a name a line, or the images of a column image")  # fmt: skip
    parser.add_argument("--hold-out", type=float, default=0.0, metavar="PART", help="keep this part of the people "
                        "apart, in DIR/held_out, with a list of pairs to choose by")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of who is held out, and of the pairs (default 0)")
    align_options.add_options(parser)
    args = parser.parse_args(arguments)
    if not 0 <= args.hold_out < 1 or args.seed < 0:
        parser.error("--hold-out is a part of the people, from 0 to below 1, and --seed is not negative")
    if args.size is not None and not 1 <= args.size <= 4096:
        parser.error(f"--size {args.size}: 1 to 4096 pixels expected")
    if args.crop is not None:
        args.crop = left, top, right, bottom = tuple(args.crop)
        if not (0 <= left < right and 0 <= top < bottom):
            parser.error(f"--crop {left} {top} {right} {bottom}: 0 <= LEFT < RIGHT and 0 <= TOP < BOTTOM expected")
    if args.merge_by_name and len(args.sources) == 1:
        parser.error("--merge-by-name is of several SOURCEs, and this is one")
    align_options.check_options(parser, args)
    return args


def report(
    console: Console, opened: Opened, summary: Summary, args: argparse.Namespace, aligned: Aligned | None
) -> None:
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
    if remark := whole_photographs(summary.sizes, args.crop is not None or args.size is not None):
        console.print(remark)
    for pair_list in opened.pair_lists:
        console.print(f"kept beside them: {pair_list.name}")
    if aligned is None:
        console.print(f"quarantined: {len(summary.quarantined):,}")
        for name, reason in summary.quarantined[:SHOWN]:
            console.print(f"  {name}: {reason}")
        if len(summary.quarantined) > SHOWN:
            console.print(f"  and {len(summary.quarantined) - SHOWN:,} more")
    else:
        align_report.tell(aligned, args.undetected, console)
    passed_over.tell(console, opened.ignored)
    passed_over.tell_alike(console, opened.source.identity_names, "are different people here")
    console.print(f"written to {args.out}")


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
        f"images of {those} pixels (height x width, {len(sizes):,} in all): {taken}, wherever the face is; no face "
        "was looked for. If they are whole photographs, --detector mtcnn finds the face of each and cuts it out."
    )


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


if __name__ == "__main__":
    cli.run(main)
