"""Error by factor in the mains that evaluate: their options, and tables, CSV and figure of what they ask for.

Not here: the numbers (`faces.evaluate.factors`), the measures (`faces.evaluate.face_measures`).
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from faces.cut_faces import Cut
from faces.data.groups import labels_of, read_groups
from faces.errors import ConfigError, DataError
from faces.evaluate import face_measures
from faces.evaluate.face_measures import OF_DETECTIONS, Faces
from faces.evaluate.factor_report import factor_dict, factor_table, factors_csv, plot_factors
from faces.evaluate.factors import Factor, by_factor
from faces.evaluate.pair_set import PairSet
from faces.evaluate.verification import VerificationResult, few_names
from faces.outputs import write_text

PARTS = 4


def add_options(parser: argparse.ArgumentParser, names: Iterable[str], groups: bool = True) -> None:
    """`--by`, `--parts`, and `--groups` where images have names."""
    parser.add_argument("--by", nargs="+", choices=tuple(names), default=[], metavar="FACTOR",
                        help=f"error by what faces are like: {', '.join(names)}")  # fmt: skip
    parser.add_argument("--parts", type=int, default=None, metavar="N",
                        help=f"into how many parts a factor's numbers are cut (default {PARTS})")  # fmt: skip
    if groups:
        parser.add_argument("--groups", type=Path, metavar="CSV", help="error by label: a table with a column image "
                            "and others, each of which is a factor")  # fmt: skip


def check_options(options: argparse.Namespace) -> None:
    """Refuse what changes nothing, or makes no sense; fills `options.parts` in.

    Raises:
        ConfigError: which.
    """
    groups = getattr(options, "groups", None)
    if options.parts is not None and not options.by:
        raise ConfigError("--parts changes nothing: labels are not cut into parts; name a factor with --by.")
    options.parts = PARTS if options.parts is None else options.parts
    if options.parts < 1:
        raise ConfigError(f"--parts {options.parts}: 1 or more.")
    if len(set(options.by)) != len(options.by):
        raise ConfigError(f"--by {' '.join(options.by)}: each factor once.")
    if groups is not None:
        read_groups(groups)  # a table that is none is refused before anything is looked at


def of_photographs(options: argparse.Namespace, test: PairSet, cut: Cut, console: Console) -> list[Factor]:
    """The factors that the command line asks for, of a set's images.

    Args:
        options: as of `add_options`.
        test: the set with its faces.
        cut: how they were found.
        console: where is said whom the table of labels names besides.
    Raises:
        ConfigError: a factor that a detector measures, of faces that none has looked for.
        DataError: as `read_groups`; a table that names no image of the set.
    """
    factors = []
    if (needs := [name for name in options.by if name in OF_DETECTIONS]) and cut.chosen is None:
        raise ConfigError(
            f"--by {' '.join(needs)}: measured by what a detector finds, and no face was looked for in {test.name}; "
            "name photographs and a --detector, or leave it out."
        )
    if options.by:
        there = ~np.isin(np.array(test.names), np.array((*test.missing, *test.undetected), str))
        nothing = np.full((len(test.names), 15), np.nan)
        found = cut.chosen
        faces = Faces(
            test.images,
            nothing[:, :4] if found is None else found.boxes,
            nothing[:, 5:].reshape(-1, 5, 2) if found is None else found.points,
            nothing[:, 4] if found is None else found.scores,
            there,
        )
        factors += [face_measures.measured(name, faces) for name in options.by]
    if options.groups is not None:
        known = set(test.names)
        for column, labels in read_groups(options.groups).items():
            if not known.intersection(labels):
                raise DataError(
                    f"{options.groups}: column {column} has no label of an image of {test.name}, which are called "
                    f"as {few_names(test.names[:1])}; name the images so, or leave the table out."
                )
            if others := [name for name in labels if name not in known]:
                console.print(f"{options.groups.name}, {column}: {len(others):,} images are not in {test.name} "
                              f"({few_names(others)})", markup=False)  # fmt: skip
            factors.append(Factor(column, f"label {column} of {options.groups.name}", labels_of(test.names, labels)))
    return factors


def report(
    console: Console,
    test: PairSet,
    result: VerificationResult,
    factors: Sequence[Factor],
    parts: int,
    out: Path,
) -> dict[str, Any]:
    """Count, print and draw; what `result.json` says of a set.

    Args:
        console: for the tables.
        test: the pairs.
        result: of them.
        factors: of its images, one or more.
        parts: as for `by_factor`.
        out: folder that receives factors_NAME.csv and factors_NAME.png.
    """
    counted = [by_factor(result, factor, test.names, test.first, test.second, parts) for factor in factors]
    for by in counted:
        console.print(factor_table(by, f"Verification on {test.name}"))
    write_text(out / f"factors_{test.name}.csv", factors_csv(counted))
    plot_factors(counted, out / f"factors_{test.name}.png", f"Error by factor, {test.name}")
    return {by.factor.name: factor_dict(by) for by in counted}
