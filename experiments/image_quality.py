"""FaceNet's Table 4 on any model: how much a worse image costs.

    python -m experiments.image_quality --weights MODEL --data lfw=DIR --out DIR [--beside DIR ...]

Faces are found and aligned once, as `experiments.evaluate` does it with the same options. Then they are compressed with
each JPEG quality of the table, or shrunk to each of its numbers of pixels and enlarged again to what the network takes,
and tested. `--out` receives `image_quality.json`, which is also the line that is printed last, and `jpeg_quality.png`
and `pixels.png`, which show the paper's NN1 as well and, with `--beside`, earlier runs with other models.

PAPER Table 4: NN1 on the first of five hold-out sets, VAL at FAR 1e-3; the paper does not say whether images were
degraded before or after its detector. CHOICE: after, so that the numbers are of the network and not of the detector.
Sizes that a network's own input does not exceed change nothing: they are left out, and named as left out.

Not here: training on compressed images (`augment.jpeg_quality` of a config), and what a training run itself is tested
on (`evaluation.jpeg_quality` and `evaluation.pixels`).
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter
from rich.console import Console
from rich.table import Table

from experiments.common import passed_over, pipeline
from experiments.common.arguments import named_path
from experiments.common.coverage import refuse_missing
from experiments.common.results import deliver
from experiments.evaluate import FAR, degraded
from faces import cli
from faces.errors import DataError
from faces.evaluate.pair_set import open_photographs
from faces.evaluate.plain_text import plain
from faces.evaluate.plots import COLOURS, MUTED, save_figure, style
from faces.opening import MIB, read_json
from faces.outputs import write_json
from faces.schema import flatten
from faces.terminal import make_console
from recognizer.cached_embedder import CachedEmbedder
from recognizer.pipeline import seen_in

RECORD = "image_quality.json"
UNTOUCHED = "as they are"

PAPER = {
    "jpeg_quality": {10: 0.673, 20: 0.814, 30: 0.839, 50: 0.855, 70: 0.861, 90: 0.865},
    "pixels": {1_600: 0.378, 6_400: 0.795, 14_400: 0.845, 25_600: 0.857, 65_536: 0.864},
}
"""PAPER Table 4: VAL of NN1 on its own hold-out images."""
LABELS = {"jpeg_quality": "JPEG quality", "pixels": "pixels of the face"}


def main(arguments: list[str]) -> None:
    """Parse, then evaluate with a folder for the results."""
    options, console = parse(arguments), make_console()
    others = [_earlier(folder) for folder in options.beside]
    pipeline.check_apart(options, options.data[1])
    deliver(options, console, lambda out: evaluate(options, others, out, console))


def evaluate(
    options: argparse.Namespace, others: Sequence[dict[str, Any]], out: Path, console: Console
) -> dict[str, Any]:
    """Cut, degrade, embed, evaluate, draw beside the records of other models; this one's record."""
    photos = open_photographs(*options.data)
    passed_over.tell(console, photos.passed_over)
    refuse_missing(photos.name, photos.missing, f"{len(photos.names):,} pictures that its list names", options)
    model = pipeline.open_for(options, console, photos.aligned)
    search = pipeline.open_search(options, model.preprocessing, aligned=photos.aligned)
    embed = CachedEmbedder(model, options.cache)
    cut = search.cut(photos.read(), len(photos.names), photos.name, model.preprocessing, console, photos.aligned)
    console.print(seen_in(cut, model.preprocessing, aligned=photos.aligned))

    table = Table("faces", f"VAL at FAR {FAR:g}, % ± SE", "accuracy, % ± SE", "the paper's NN1, VAL, %")
    rows: list[dict[str, Any]] = []
    settings, left_out = _settings(model.preprocessing.size)
    if left_out:
        height, width = model.preprocessing.size
        pixels = "; ".join(f"{value:,}" for value in left_out)
        console.print(f"{pixels} pixels: left out, as the network's pictures have {height * width:,} themselves")
    for kind, value in settings:
        quality = {"jpeg_quality": 0, "pixels": 0} | ({kind: value} if kind else {})
        test = degraded(photos, cut, options, **quality)
        result = test.evaluate(embed(test.images, console), FAR, options.allow_missing)
        numbers = {"val": result.val, "val_se": result.val_se, "far": result.far}
        numbers |= {"accuracy": result.accuracy, "accuracy_se": result.accuracy_se, "coverage": result.coverage}
        rows.append(quality | numbers)
        name = f"{LABELS[kind]} {value:,}" if kind else UNTOUCHED
        cells = [f"{100 * numbers[key]:.2f} ± {100 * numbers[f'{key}_se']:.2f}" for key in ("val", "accuracy")]
        table.add_row(name, *cells, f"{100 * PAPER[kind][value]:.1f}" if kind else "")
        console.print(f"{name}: VAL {cells[0]}, accuracy {cells[1]}")
    console.print(table)
    record: dict[str, Any] = {
        "model": model.name,
        "weights": model.description.origin.file,
        "set": photos.name,
        "preprocessing": flatten(model.preprocessing),
        **pipeline.detection_record(options),
        "rows": rows,
        "left_out_pixels": left_out,
    }
    write_json(out / RECORD, record)
    for kind in PAPER:
        draw([*others, record], kind, out / f"{kind}.png")
    return record


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.image_quality", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--data", required=True, metavar="NAME=PATH", type=named_path,
                        help="photographs with pairs, as for experiments.evaluate")  # fmt: skip
    parser.add_argument("--beside", type=Path, nargs="+", default=[], metavar="DIR", help="--out of earlier runs")
    pipeline.add_options(parser)
    options = parser.parse_args(arguments)
    pipeline.check_options(parser, options)
    return options


def _settings(size: tuple[int, int]) -> tuple[list[tuple[str, int]], list[int]]:
    """The untouched faces, then the table's rows that take anything from faces of this size; the pixels of the rest."""
    rows = [(kind, value) for kind, values in PAPER.items() for value in values]
    left_out = [value for kind, value in rows if kind == "pixels" and value >= size[0] * size[1]]
    return [("", 0), *(row for row in rows if row[0] != "pixels" or row[1] not in left_out)], left_out


def _earlier(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    try:
        found = read_json(path, MIB)
        return {key: found[key] for key in ("model", "preprocessing", "rows")}
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{path}: is no record of this command; name the --out of an earlier run.") from None


def draw(records: list[dict[str, Any]], kind: str, path: Path) -> None:
    """VAL over JPEG quality or pixels, one line a model, with its standard error; the paper's beside.

    Args:
        records: content of `image_quality.json`, of each model.
        kind: "jpeg_quality" or "pixels".
        path: the PNG to write.
    """
    paper = PAPER[kind]
    with style():
        figure = Figure(figsize=(6.4, 4.6), layout="constrained")
        figure.suptitle(f"FaceNet's Table 4 on LFW: {LABELS[kind]}", fontsize=12.5, fontweight="bold")
        axes = figure.add_subplot()
        axes.plot(list(paper), list(paper.values()), "o--", color=MUTED, label="the paper's NN1, its hold-out set")
        for index, record in enumerate(records):
            x, rows = _line(record, kind)
            colour = COLOURS[index % len(COLOURS)]
            val, error = (np.array([row[key] for row in rows]) for key in ("val", "val_se"))
            axes.errorbar(x, val, error, fmt="o-", color=colour, capsize=3, label=plain(f"{record['model']}, LFW"))
        if kind == "pixels":
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_locator(FixedLocator(list(paper)))
        axes.set_xticklabels([f"{value:,}" for value in paper])
        axes.set(xlabel=LABELS[kind], ylabel=f"VAL at FAR {FAR:g}", ylim=(0, 1.02))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.legend(loc="lower right")
        save_figure(figure, path)


def _line(record: Mapping[str, Any], kind: str) -> tuple[list[int], list[Any]]:
    """Of one model: the values of the axis, and the rows; over pixels the untouched faces close the line."""
    rows = [row for row in record["rows"] if row[kind]]
    x = [row[kind] for row in rows]
    if kind == "pixels":
        height, width = record["preprocessing"]["size"]
        rows += [row for row in record["rows"] if not (row["jpeg_quality"] or row["pixels"])]
        x.append(height * width)
    return x, rows


if __name__ == "__main__":
    cli.run(main)
