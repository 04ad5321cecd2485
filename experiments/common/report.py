"""What the training mains print and draw: the config and its difference, tables, curves, the hardest pairs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from faces.config import RunConfig
from faces.data import augment
from faces.data.source import FaceSource
from faces.evaluate import baselines as simple
from faces.evaluate.pair_set import PairSet
from faces.evaluate.report import fold_table, result_dict, summary_table
from faces.evaluate.verification import VerificationResult
from faces.run_record import read_log
from faces.schema import flatten

PCA_FACES = 10_000
"""At most so many training faces are used to fit the eigenfaces."""
PCA_COMPONENTS = 100

CURVES = ("loss", "theta", "active", "d_ap", "d_an", "spread")
"""Metrics of either paper that are drawn over the steps."""


def print_config(
    console: Console, name: str, config: RunConfig, changed: Mapping[str, tuple[Any, Any]]
) -> None:
    """The resolved config, one section a line, and what differs from the file."""
    console.print(f"config {name}:")
    sections: dict[str, list[str]] = {}
    for key, value in flatten(config).items():
        section, field = key.split(".", 1)
        sections.setdefault(section, []).append(f"{field} {list(value) if isinstance(value, tuple) else value}")
    for section, fields in sections.items():
        console.print(f"  {section}: {', '.join(fields)}")
    for key, (before, after) in changed.items():
        console.print(f"  changed: {key} {before} -> {after}")


def baselines(
    test: PairSet, source: FaceSource, config: RunConfig, allow_missing: bool
) -> dict[str, VerificationResult]:
    """What chance, raw pixels and eigenfaces reach on the test set's crops.

    The eigenfaces are fitted on training faces, cropped as the network sees them but not changed at random.
    """
    chosen = np.random.default_rng(config.train.seed).permutation(len(source))[:PCA_FACES]
    training = np.stack([augment.crop(source[int(index)], config.model.input_size) for index in chosen])
    pixels = simple.raw_pixels(test.images)
    training_pixels = simple.raw_pixels(training)
    components = min(PCA_COMPONENTS, len(training) - 1)
    eigenfaces = simple.fit_eigenfaces(training_pixels, components)
    embeddings = {
        "chance": simple.chance(len(test.images)),
        "raw pixels": pixels,
        f"PCA, {components} components": eigenfaces.embed(pixels),
    }
    far = config.evaluation.far
    return {name: test.evaluate(embedding, far, allow_missing) for name, embedding in embeddings.items()}


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


def write(
    console: Console,
    folder: Path,
    config: RunConfig,
    tests: list[PairSet],
    baselines: Mapping[str, VerificationResult],
    before: Mapping[str, VerificationResult],
    after: Mapping[str, VerificationResult],
    minutes: float,
    collapsed_loss: float | None,
) -> None:
    """Print the tables and draw the pictures of a run into its folder.

    `collapsed_loss` is the loss of a network that maps all faces to one point, where there is such a number.
    """
    from faces.evaluate import plots  # here, as Matplotlib takes half a second that no start should wait for

    evaluations = read_log(folder / "evaluations.jsonl")
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
