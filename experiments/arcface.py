"""Train ArcFace and evaluate it: `python -m experiments.arcface`.

Without arguments: a tiny network on generated faces, on any CPU, in under three minutes. With `--data` and `--eval`:
real faces, judged on LFW, CFP, an InsightFace .bin or any set in LFW's layout. Every field of the config can be given
on the command line, such as `--loss.m2 0.4`.
"""

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
from jax.sharding import Mesh

from arcface_jax.centres import describe_memory
from arcface_jax.config import Config
from arcface_jax.monitor import AngleMonitor
from arcface_jax.sampling import epoch_order
from arcface_jax.train_step import init_state, make_train_step
from experiments.common import recipe, training
from experiments.common.recipe import Recipe
from faces import cli
from faces.data.source import FaceSource, Relabelled, with_images

DESCRIPTION = "Train ArcFace and evaluate it."


def _order(config: Config, source: FaceSource) -> Callable[[int], np.ndarray]:
    batch = config.batch
    return partial(epoch_order, source.identities, batch.images, batch.images_per_identity, config.train.seed)


def training_faces(config: Config, source: FaceSource) -> FaceSource:
    """The faces that a config trains on: people with enough images, and wrong labels where it asks for them."""
    source = with_images(source, config.data.min_images)
    fraction = config.data.wrong_labels
    return Relabelled(source, fraction, config.train.seed) if fraction > 0 else source


def _describe(config: Config, mesh: Mesh, classes: int) -> str:
    if config.loss.classifier == "none":
        return ""
    head = config.head
    return describe_memory(
        config.batch.images,
        classes,
        config.model.embedding_dim,
        mesh.devices.size,
        head.sub_centres,
        head.sampling_rate,
        head.block,
    )


RECIPE = Recipe(
    name="arcface",
    schema=Config,
    generated_config="arcface/tiny",
    real_config="arcface/small",
    select=training_faces,
    order=_order,
    init_state=init_state,
    make_train_step=make_train_step,
    monitor=AngleMonitor,
    collapsed_loss=lambda config: None,
    describe=_describe,
)


def parse(arguments: list[str]) -> tuple[argparse.Namespace, Config]:
    """The command line: options of the run, and the config with its overrides."""
    return recipe.parse(RECIPE, DESCRIPTION, arguments)


def main(arguments: list[str]) -> None:
    """Parse, train, evaluate, report."""
    training.run(RECIPE, DESCRIPTION, arguments)


if __name__ == "__main__":
    cli.run(main)
