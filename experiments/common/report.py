"""What the mains that train print and draw: the setting and, of recognition, tables, curves, the hardest pairs.

Not here: the numbers (`verification.py`), plots (`faces.evaluate.plots`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh
from rich.console import Console

from experiments.common import results
from experiments.common.training_faces import Faces
from faces import start
from faces.config import RunConfig
from faces.data import uncut
from faces.evaluate.pair_set import PairSet
from faces.evaluate.report import fold_table, result_dict, summary_table
from faces.evaluate.verification import VerificationResult
from faces.outputs import write_json
from faces.run_record import read_log
from faces.schema import Checked, difference, flatten
from faces.train_loop import Trained

CURVES = ("loss", "theta", "active", "d_ap", "d_an", "spread")
"""Metrics of either paper that are drawn over the steps."""


def print_setting(console: Console, mesh: Mesh, name: str, in_file: Checked, config: Checked) -> None:
    """The devices, and the resolved config, one section a line, with what differs from the file.

    Args:
        console: what is printed to.
        mesh: the devices.
        name: of the config's file.
        in_file: the config as it stands there.
        config: as it is resolved.
    """
    console.print(f"devices: {', '.join(device.device_kind for device in mesh.devices.flat)}")
    if folder_of_programs := start.programs_folder():
        console.print(f"compiled programs are kept in {folder_of_programs}")
    console.print(f"config {name}:")
    sections: dict[str, list[str]] = {}
    for key, value in flatten(config).items():
        section, field = key.split(".", 1)
        sections.setdefault(section, []).append(f"{field} {list(value) if isinstance(value, tuple) else value}")
    for section, fields in sections.items():
        console.print(f"  {section}: {', '.join(fields)}")
    for key, (before, after) in difference(in_file, config).items():
        console.print(f"  changed: {key} {_or_none(before)} -> {_or_none(after)}")


def _or_none(value: Any) -> Any:
    return "none" if value is None else value  # a key of another kind of table


def print_faces(
    console: Console, mesh: Mesh, config: RunConfig, faces: Faces, batches: int, of_paper: str = ""
) -> None:
    """What is trained on, and remarks on it and on the test sets.

    Args:
        console, mesh, config: as for `print_setting`.
        faces: of the run.
        batches: in an epoch.
        of_paper: a line of the paper's own.
    """
    images, size = config.batch.images, len(faces.source)
    console.print(
        f"training faces: {faces.source.name}: {size:,} images of {faces.classes:,} people; batches of "
        f"{images} ({images // mesh.devices.size} a device), {batches:,} an epoch"
    )
    of_tests = [f"{test.name}: {test.remark}" for test in faces.tests if test.remark]
    for line in (uncut.remark(faces.source, config.model.input_size), of_paper, *of_tests):
        if line:
            console.print(line)


def result(
    tests: list[PairSet],
    after: Mapping[str, VerificationResult],
    images_per_second: float | None,
    config: str,
    train: str,
) -> dict[str, Any]:
    """Content of result.json. The numbers are the first test set's; null without one.

    Args:
        tests: the test sets.
        after: their results by name.
        images_per_second: of training, or of embedding.
        config: what was run.
        train: what it was trained on.
    """
    keys = ("accuracy", "accuracy_se", "val_at_far_1e-3", "eer", "auc", "pairs", "coverage", "thresholds")
    numbers = {name: result_dict(of_test) for name, of_test in after.items()}
    main_numbers: dict[str, Any] = dict.fromkeys(keys)
    main_numbers.update(next(iter(numbers.values()), {}))
    return {
        **main_numbers,
        "images_per_second": rate(images_per_second),
        "config": config,
        "data": {"train": train, "test": list(numbers)},
        "tests": numbers,
        "remarks": {test.name: test.remark for test in tests if test.remark},
    }


def rate(images_per_second: float | None) -> float | None:
    """What `result.json` says of a rate: null where nothing was timed, as a cache or an earlier part had it."""
    return round(images_per_second, 2) if images_per_second else None


class Numbers(NamedTuple):
    """What a run's report compares, by the test sets' names; the baselines, of the main one, by their own."""

    baselines: Mapping[str, VerificationResult]
    before: Mapping[str, VerificationResult]
    after: Mapping[str, VerificationResult]


def write(
    console: Console,
    folder: Path,
    name: str,
    faces: Faces,
    numbers: Numbers,
    trained: Trained,
    collapsed_loss: float | None = None,
) -> None:
    """Write `result.json`, print the tables, draw the figures, and end with the result.

    Args:
        console: what is printed to.
        folder: of the run.
        name: of its config.
        faces: that it was trained and evaluated on.
        numbers: of the evaluations.
        trained: how training ended.
        collapsed_loss: the loss of a network that maps all faces to one point, where there is such a number.
    """
    of_run = result(faces.tests, numbers.after, trained.images_per_second, name, faces.source.name)
    write_json(folder / "result.json", of_run)
    _show(console, folder, faces.tests, numbers, trained.minutes, collapsed_loss)
    if said := faces.source.said():
        console.print(said)
    results.close(console, folder, of_run)


def _show(
    console: Console,
    folder: Path,
    tests: list[PairSet],
    numbers: Numbers,
    minutes: float,
    collapsed_loss: float | None,
) -> None:
    """Print the tables and draw the figures of a run into its folder."""
    from faces.evaluate import plots  # here, as Matplotlib takes half a second that no start should wait for

    baselines, before, after = numbers
    evaluations = [row for row in read_log(folder / "evaluations.jsonl") if "accuracy" in row]
    log = read_log(folder / "log.jsonl")
    generated = bool(tests) and tests[0].generated
    curve = {"minutes": [0.0], "accuracy": [], "accuracy_se": []}
    if tests:
        main = tests[0].name
        rows = [*evaluations, {"minutes": minutes} | _accuracy(after[main])]
        curve = {key: [row[key] for row in [{"minutes": 0.0} | _accuracy(before[main]), *rows]] for key in curve}
    plots.plot_training(
        {key: [row[key] for row in log] for key in ("step", *CURVES) if key in log[0]},
        folder / "training.png",
        "Training",
        generated,
        curve if tests else None,
        collapsed_loss,
    )
    for position, test in enumerate(tests):
        rows = {
            **(baselines if position == 0 else {}),
            "before training": before[test.name],
            "after training": after[test.name],
        }
        kind = "generated faces" if test.generated else test.name
        console.print(summary_table(rows, f"Verification on {kind}"))
        console.print(fold_table(after[test.name], f"After training, {kind}, fold by fold"))
        suffix = "" if position == 0 else f"_{test.name}"

        def of(what: str, test: PairSet = test) -> str:
            return what if test.generated else f"{what}, {test.name}"  # plots say by themselves "generated faces"

        curves = {label: result for label, result in rows.items() if label != "chance"}  # which every plot draws itself
        plots.plot_roc(curves, folder / f"roc{suffix}.png", of("Verification"), test.generated)
        plots.plot_distances(
            after[test.name], folder / f"distances{suffix}.png", of("Cosines"), test.generated
        )

        def pictures(row: int, test: PairSet = test) -> tuple[np.ndarray, np.ndarray]:
            return test.images[test.first[row]], test.images[test.second[row]]

        plots.plot_hardest(
            after[test.name], pictures, folder / f"hardest_pairs{suffix}.png", of("Hardest pairs"), test.generated
        )


def _accuracy(result: VerificationResult) -> dict[str, float]:
    return {"accuracy": result.accuracy, "accuracy_se": result.accuracy_se}
