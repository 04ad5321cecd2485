"""Where FaceNet on several devices leaves the run on one: which choice rounding has tipped, and what that moves.

    python -m benchmarks.tipped --data SET [--devices 2 3 8] [--steps 40]

The same batches go through one device and through others, each with weights of its own. Sums are taken in another
order, so that numbers differ in their last places, and where one is near an edge, a choice tips: a ReLU is open or
closed, mining (Eq. 4) takes another negative, or a triplet's loss is zero or not (Eq. 3). Each moves the gradient by
more than the last places. Printed for each number of devices at the step after which weights are a hundred times as far
apart as before: which choices differ, with the numbers on both sides; the gradient's norm, and its change by the other
run's weights alone (the same choices) and by its choices alone (the same weights); the weights' largest differences.

Not here: runs of several processes (`hosts.py`).
"""

import argparse
import json
import os
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments import facenet
from experiments.common.training_faces import find_faces
from facenet_jax import mining
from facenet_jax.config import Config, TripletConfig
from facenet_jax.sampling import epoch_order
from facenet_jax.train_step import init_state, make_train_step, mine
from faces import ops
from faces.backbone import Backbone
from faces.data.loader import make_loader
from faces.mesh import make_mesh, place_batch, replicated, sharded
from faces.start import choose_routines
from faces.terminal import make_console
from recognizer.networks import backbone_of

SETTING = (
    *("--config", "facenet/tiny", "--model.input-size", "16", "16", "--model.embedding-dim", "8"),
    *("--batch.images", "48", "--batch.images-per-identity", "4", "--batch.random-negatives", "0"),
)
LEAP = 100  # by which differences of weights grow in a step that has tipped something


class Looked(NamedTuple):
    """A batch as some weights see it.

    Args:
        relus: what enters each ReLU, in the network's order.
        distance: squared, (B, B).
        negative, is_pair: as mined, (B, B).
        excess: D(a, p) - D(a, n) + alpha of each pair, (B, B); the loss of those above 0.
    """

    relus: list[np.ndarray]
    distance: np.ndarray
    negative: np.ndarray
    is_pair: np.ndarray
    excess: np.ndarray


def pixels_of(config: Config, batch: Any) -> jax.Array:
    """A batch's images as the network takes them."""
    return ops.normalise(jnp.asarray(batch["images"]), config.data.mean, config.data.scale)


class Run:
    """Weights that one number of devices has trained."""

    def __init__(self, config: Config, backbone: Backbone, devices: int) -> None:
        self.devices, self.mesh, self.has_left = devices, (mesh := make_mesh(devices)), False
        self.state = init_state(config, mesh, backbone)
        self._step = make_train_step(config, mesh, backbone)
        whole, alpha = replicated(mesh), triplets_of(config).alpha

        def look(params: Any, batch_stats: Any, batch: Any) -> tuple[Any, ...]:
            relus = []
            with mock.patch.object(nn, "relu", lambda x: relus.append(x) or jax.nn.relu(x)):
                embeddings = backbone.apply(params, batch_stats, pixels_of(config, batch), True)[0]
            embeddings = jax.lax.with_sharding_constraint(embeddings, whole)
            negative, is_pair = mine(embeddings, batch["identities"], config, jax.random.key(0))
            distance = mining.distances(embeddings)
            excess = distance - jnp.take_along_axis(distance, negative, axis=1) + alpha
            return relus, distance, negative, is_pair, excess

        self._look = jax.jit(look, in_shardings=(whole, whole, sharded(mesh)), out_shardings=whole)

    def look(self, batch: Any) -> Looked:
        """At a batch, by the weights of now."""
        found = self._look(self.state.params, self.state.batch_stats, place_batch(self.mesh, batch))
        return Looked(*jax.tree.map(np.asarray, found))

    def step(self, batch: Any) -> None:
        """Train on a batch."""
        self.state, _ = self._step(self.state, place_batch(self.mesh, batch))

    def weights(self) -> tuple[Any, Any]:
        """On no device."""
        return jax.device_get((self.state.params, self.state.batch_stats))


def main() -> None:
    """Train all, compare, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="training faces")
    parser.add_argument("--devices", type=int, nargs="+", default=[2, 3, 8])
    parser.add_argument("--steps", type=int, default=40)
    args = parser.parse_args()
    choose_routines()
    given = [*SETTING, "--data", str(args.data), "--train.steps", str(args.steps)]
    options, config = facenet.parse(given)
    faces = find_faces(options, config, make_console(quiet=True))
    batch, seed = config.batch, config.train.seed
    rule = (batch.images, batch.images_per_identity, batch.random_negatives, seed)
    order = partial(epoch_order, faces.source.identities, *rule)
    loader = make_loader(faces.source, order, args.steps, config.model.input_size, config.augment, seed)
    backbone = backbone_of(config.model, "facenet")
    one, *others = (Run(config, backbone, devices) for devices in (1, *args.devices))
    for number in range(1, args.steps + 1):
        images = next(loader)
        together = [other for other in others if not other.has_left]
        looked = {run.devices: run.look(images) for run in (one, *together)}
        weights = {run.devices: run.weights() for run in (one, *together)}
        before = [apart(one, other) for other in together]
        for run in (one, *together):
            run.step(images)
        for other, was in zip(together, before, strict=True):
            if 0 < LEAP * was < (now := apart(one, other)):
                other.has_left = True
                pair = [(weights[run.devices], looked[run.devices]) for run in (one, other)]
                told = {"devices": other.devices, "step": number, "weights_apart": [was, now]}
                print(json.dumps(told | tipped(*(look for _, look in pair))), flush=True)
                print(json.dumps(gradients(config, backbone, images, *pair)), flush=True)
    for other in others:
        print(json.dumps({"devices": other.devices, "has_left": other.has_left, "at_the_end": apart(one, other)}))


def triplets_of(config: Config) -> TripletConfig:
    """The loss of a config, which is FaceNet's."""
    assert isinstance(config.loss, TripletConfig), config.loss.kind
    return config.loss


def tipped(one: Looked, other: Looked) -> dict[str, Any]:
    """The choices in which two runs differ, with the numbers on both sides; and how many there are."""
    relus = list[dict[str, Any]]()
    for number, (x, y) in enumerate(zip(one.relus, other.relus, strict=True), start=1):
        for place in np.argwhere((x > 0) != (y > 0)):
            at = tuple(map(int, place))
            relus.append({"relu": number, "image, row, column, channel": at, "enters": [float(x[at]), float(y[at])],
                          "apart_elsewhere": float(np.median(np.abs(x - y)))})  # fmt: skip
    is_pair = one.is_pair & other.is_pair
    triplets = list[dict[str, Any]]()
    for a, p in np.argwhere(is_pair & (one.negative != other.negative)).tolist():
        others = {"D(a, p)": p, "D(a, n)": int(one.negative[a, p]), "D(a, n')": int(other.negative[a, p])}
        distances = {name: [float(look.distance[a, to]) for look in (one, other)] for name, to in others.items()}
        triplets.append({"a, p, n, n'": [a, *others.values()], **distances})
    hinges = [
        {"a": a, "p": p, "excess": [float(one.excess[a, p]), float(other.excess[a, p])]}
        for a, p in np.argwhere(is_pair & ((one.excess > 0) != (other.excess > 0))).tolist()
    ]
    return {
        "relus": sum(x.size for x in one.relus),
        "pairs": int(is_pair.sum()),
        "tipped": {"relus": relus, "triplets": triplets, "losses": hinges},
    }


def gradients(
    config: Config, backbone: Backbone, batch: Any, one: tuple[Any, Looked], other: tuple[Any, Looked]
) -> dict[str, float]:
    """The gradient's norm, and that of its change by the other's weights alone, and by the other's choices alone."""

    def loss(params: Any, batch_stats: Any, looked: Looked) -> jax.Array:
        is_open = iter(looked.relus)
        with mock.patch.object(nn, "relu", lambda x: jnp.where(next(is_open) > 0, x, 0)):
            embeddings = backbone.apply(params, batch_stats, pixels_of(config, batch), True)[0]
        distance = ops.squared_distances(embeddings, embeddings)
        excess = distance - jnp.take_along_axis(distance, looked.negative, axis=1) + triplets_of(config).alpha
        active = jnp.asarray(looked.is_pair & (looked.excess > 0))
        return jnp.sum(jnp.where(active, excess, 0)) / jnp.maximum(jnp.sum(active), 1)

    def of(weights: Any, looked: Looked) -> np.ndarray:
        leaves = jax.tree.leaves(jax.grad(loss)(*weights, looked))
        return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in leaves])

    assert triplets_of(config).reduction == "mean_of_active"
    here = of(*one)
    return {
        "gradient_norm": float(np.linalg.norm(here)),
        "change_by_weights": float(np.linalg.norm(of(other[0], one[1]) - here)),
        "change_by_choices": float(np.linalg.norm(of(one[0], other[1]) - here)),
    }


def apart(one: Run, other: Run) -> float:
    """The largest difference of any weight."""
    pairs = zip(*(jax.tree.leaves(run.weights()[0]) for run in (one, other)), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


if __name__ == "__main__":
    main()
