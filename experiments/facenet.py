"""Train FaceNet and evaluate it: `python -m experiments.facenet`.

Without arguments: the tiny network on generated faces, on any CPU, in under three minutes. With `--data` and `--eval`:
real faces, judged on LFW or any set in its layout. Every field of the config can be given on the command line, such as
`--optimiser.learning-rate 0.02`.
"""

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np

from experiments.common import recipe, training
from experiments.common.recipe import Recipe
from facenet_jax.config import Config
from facenet_jax.monitor import TripletMonitor
from facenet_jax.sampling import epoch_order
from facenet_jax.train_step import init_state, make_train_step
from faces import cli
from faces.data.source import FaceSource

DESCRIPTION = "Train FaceNet and evaluate it."


def _order(config: Config, source: FaceSource) -> Callable[[int], np.ndarray]:
    batch = config.batch
    return partial(
        epoch_order,
        source.identities,
        batch.images,
        batch.images_per_identity,
        batch.random_negatives,
        config.train.seed,
    )


def _collapsed_loss(config: Config) -> float | None:
    """All distances are 0 then, and each pair's loss is alpha."""
    alone = config.loss.reduction == "mean_of_pairs" and config.loss.classifier == 0
    return config.loss.alpha if alone else None


RECIPE = Recipe(
    name="facenet",
    schema=Config,
    generated_config="facenet/tiny",
    real_config="facenet/small",
    select=lambda config, source: source,
    order=_order,
    init_state=init_state,
    make_train_step=lambda config, mesh, backbone, classes: make_train_step(config, mesh, backbone),
    monitor=TripletMonitor,
    collapsed_loss=_collapsed_loss,
    describe=lambda config, mesh, classes: "",
)


def parse(arguments: list[str]) -> tuple[argparse.Namespace, Config]:
    """The command line: options of the run, and the config with its overrides."""
    return recipe.parse(RECIPE, DESCRIPTION, arguments)


def main(arguments: list[str]) -> None:
    """Parse, train, evaluate, report."""
    training.run(RECIPE, DESCRIPTION, arguments)


if __name__ == "__main__":
    cli.run(main)
