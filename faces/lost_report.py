"""What a run leaves when too many steps in a row were not finite: `FOLDER` in its folder.

`report.txt` has the sentence, the loss and its terms, the norm of the gradient layer by layer and whose images the last
batch had; `batch.png` shows them.

Not here: when a run ends (`not_finite.py`).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faces.batch_sheet import batch_sheet
from faces.data.images import encode_png
from faces.gradient_norms import OF_LAYER
from faces.not_finite import Shown
from faces.outputs import write_bytes, write_text
from faces.printable import on_one_line

FOLDER, REPORT, SHEET = "not_finite", "report.txt", "batch.png"
_NAMED = 5  # layers in a sentence


def layers_of(metrics: Mapping[str, float]) -> dict[str, float]:
    """Of a step's metrics the gradient's norms by layer."""
    return {name.removeprefix(OF_LAYER): value for name, value in metrics.items() if name.startswith(OF_LAYER)}


def said_of_layers(metrics: Mapping[str, float]) -> str:
    """A sentence on which layers' gradients are not finite; "" where nothing is known of layers."""
    layers = layers_of(metrics)
    bad = [name for name, norm in layers.items() if not math.isfinite(norm)]
    if not layers:
        return ""
    if not bad:
        return " The gradient of every single layer is finite."
    if len(bad) == len(layers):
        return f" The gradients of all {len(layers)} layers are not finite."
    more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    are = f"Of {len(layers)} layers the gradients of {len(bad)} are" if len(bad) > 1 else "The gradient of one layer is"
    return f" {are} not finite: {', '.join(bad[:_NAMED])}{more}."


def write(folder: Path, sentence: str, step: int, metrics: Mapping[str, float], loader: Any) -> None:
    """Write `FOLDER` in a run's folder.

    Args:
        folder: of the run.
        sentence: what is said of it, and what to change.
        step: the last one.
        metrics: of that step, the norms by layer among them.
        loader: of the run; of one that is no `Shown` the batch is not told.
    Raises:
        OutputError: the disk refuses.
    """
    layers = layers_of(metrics)
    lines = [sentence, "", f"step {step:,}: the loss, its terms and what else is measured"]
    lines += [_line(name, value) for name, value in metrics.items() if not name.startswith(OF_LAYER)]
    if layers:
        lines += ["", "norm of the gradient by layer"]
        lines += [_line(name, value) for name, value in layers.items()]
    if isinstance(loader, Shown):
        indices = loader.indices(step)
        people = loader.people(indices) or [""] * len(indices)
        lines += ["", f"the batch, as {SHEET} shows it, row by row: place in the training set, person"]
        lines += [f"{index:>10} {on_one_line(name)}".rstrip() for index, name in zip(indices, people, strict=True)]
        write_bytes(folder / FOLDER / SHEET, encode_png(batch_sheet(loader.images(step), indices)))
    write_text(folder / FOLDER / REPORT, "\n".join(lines) + "\n")


def _line(name: str, value: float) -> str:
    return f"{value:>14.6g}  {name}" + ("" if math.isfinite(value) else "  <- not finite")
