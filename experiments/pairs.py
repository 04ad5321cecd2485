"""Make a list of pairs in LFW's layout of anybody's people, to choose by: `python -m experiments.pairs SET --out DIR`.

SET is a folder of IDENTITY/IMAGE.jpg, a prepared dataset, or InsightFace's records. DIR receives a prepared set with
the images of the pairs and `pairs.txt`; `--eval dev=DIR` of the training mains and `--data dev=DIR` of
`experiments.evaluate` and `experiments.image_quality` take it. With `--out pairs.txt` the list alone is written, of
images that are called as LFW's are; it belongs into SET's folder, or beside it.

Nobody is in two folds; each has as many pairs of one person as of two. The same seed draws the same pairs.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console

from experiments.common import passed_over
from experiments.common.arguments import place
from faces import cli
from faces.data.lfw import PAIRS
from faces.data.open import KINDS, Opened, open_source
from faces.data.pair_draw import Drawn, sound_pairs
from faces.data.pair_sets import LfwNames, has_lfw_name, pair_text, write_pair_set
from faces.data.prepared import EncodedSource
from faces.errors import DataError
from faces.outputs import check_file, check_free, write_text
from faces.terminal import make_console, make_progress


def main(arguments: list[str]) -> None:
    """Parse, draw, write."""
    args, console = parse(arguments), make_console()
    is_list = args.out.suffix == ".txt"
    if is_list:
        check_file(args.out, args.overwrite)
    elif args.out.resolve() == Path(args.source).resolve():
        raise DataError(f"{args.out}: is the set itself; name another folder with --out.")
    else:
        check_free(args.out, args.overwrite)
    opened = open_source(args.source, args.kind)
    passed_over.tell(console, opened.ignored)
    drawn = sound_pairs(opened.source, args.folds, args.pairs, args.seed)
    console.print(drawn.said())
    if is_list:
        write_list(args.out, opened.source, drawn, console)
    else:
        write_set(args, opened, drawn, console)
    console.print(f"written to {args.out}")


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line, checked as far as it can be without looking at files."""
    parser = argparse.ArgumentParser(prog="python -m experiments.pairs", description=(__doc__ or "").split(": `")[0])
    parser.add_argument("source", metavar="SET", help="folder of IDENTITY/IMAGE.jpg, prepared dataset, .rec file")
    parser.add_argument("--out", type=place, required=True, metavar="DIR|pairs.txt", help="set to make, or list alone")
    parser.add_argument("--folds", type=int, metavar="N", help="default 10, fewer of few people; at least 2")
    parser.add_argument("--pairs", type=int, metavar="N", help="of one person in a fold, and as many of two (default "
                        "300, fewer of few people)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of folds and pairs (default 0)")
    parser.add_argument("--kind", choices=KINDS, help="what SET is (default: found out)")
    parser.add_argument("--aligned", action="store_true", help="the images are faces cut out already: take them whole, "
                        "as is done of records, and of prepared sets that say so")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    args = parser.parse_args(arguments)
    if args.folds is not None and args.folds < 2:
        parser.error(f"--folds {args.folds}: a threshold is chosen on other folds than the one tested; 2 or more")
    if args.pairs is not None and args.pairs < 1:
        parser.error(f"--pairs {args.pairs}: 1 or more")
    if args.seed < 0:
        parser.error(f"--seed {args.seed}: not negative")
    return args


def write_list(path: Path, source: EncodedSource, drawn: Drawn, console: Console) -> None:
    """The list alone.

    Raises:
        DataError: an image that the list cannot name.
    """
    for row in np.union1d(drawn.first, drawn.second).tolist():
        if not has_lfw_name(name := source.source_name(row)):
            raise DataError(
                f"{source.name}: {name} is not called as LFW calls images, PERSON/PERSON_0001.jpg, and a list cannot "
                "name it; give --out a folder, in which the images of the pairs are called so."
            )
    write_text(path, pair_text(drawn, source.source_name))
    if path.name != PAIRS:
        console.print(f"evaluation finds a list by the name {PAIRS}, in the folder of the images or beside it")


def write_set(args: argparse.Namespace, opened: Opened, drawn: Drawn, console: Console) -> None:
    """The images of the pairs, and the list beside them."""
    rows = np.union1d(drawn.first, drawn.second)
    chosen = LfwNames(opened.source, rows)
    drawn = Drawn(drawn.folds, drawn.n, *(np.searchsorted(rows, side) for side in (drawn.first, drawn.second)))
    with make_progress(console) as bar:
        task = bar.add_task("writing", total=len(chosen))
        write_pair_set(
            chosen,
            args.out,
            lambda faces: pair_text(drawn, chosen.source_name),
            aligned=opened.aligned or args.aligned,
            cut_as=opened.cut_as,
            overwrite=args.overwrite,
            progress=lambda done: bar.update(task, completed=done),
        )


if __name__ == "__main__":
    cli.run(main)
