"""FaceNet in one file: F. Schroff, D. Kalenichenko, J. Philbin, arXiv 1503.03832v3, Sec. 3 and 4.

A network f maps the image of a face to a point on a sphere, so that the squared distance of two points says how unlike
two faces are. It learns from triplets: an anchor x_a, another image of the same person x_p, an image of somebody else
x_n. Which triplets it meets decides whether it learns; they are found anew in every batch, with the network as it is.

    python -m examples.facenet

trains a small network on generated faces, for less than two minutes on two cores, and tells pairs of people whom it
has never seen apart by the protocol of LFW.

Not here: the paper's networks, photographs, many devices, a batch of 1,800, interruptions. The package `facenet_jax`
has all of it; its README leads from each section, equation and table to a function. A test holds the loss and the
gradients of this file equal to the package's.
"""

import time
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from faces.data.synthetic.generated import generated_faces, generated_pairs
from faces.evaluate.verification import VerificationResult, verify

EMBEDDING_DIM = 64  # d; PAPER Sec. 5.4: 128
ALPHA = 0.2  # the margin between squared distances; PAPER Sec. 3.3: 0.2
PEOPLE, IMAGES_EACH = 16, 8  # in a batch; PAPER Sec. 3.2: around 40 images of each, in around 1,800
LEARNING_RATE = 0.05  # of AdaGrad; PAPER Sec. 3.3
STEPS = 300

Params = Any  # a tree of arrays
Batch = tuple[jax.Array, jax.Array]  # images uint8 (B, rows, columns, 3), identities int32 (B,)


# -- The network, a black box: Fig. 2 --------------------------------------------------


class Network(nn.Module):
    """Images (B, rows, columns, 3) -> embeddings (B, d) of length 1. CHOICE: the smallest thing that learns."""

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        x = images
        for channels in (32, 64, 96):
            x = nn.Conv(channels, (3, 3), strides=2, kernel_init=nn.initializers.he_normal())(x)
            x = nn.relu(x)  # (B, rows / 2, columns / 2, channels)
        x = nn.Dense(EMBEDDING_DIM)(x.reshape(x.shape[0], -1))  # (B, d)
        return x * jax.lax.rsqrt(jnp.sum(x * x, axis=1, keepdims=True) + 1e-12)  # Sec. 3.1: ||f(x)|| = 1


def embed(params: Params, images: jax.Array) -> jax.Array:
    """f(x) of images, uint8 (B, rows, columns, 3) -> (B, d)."""
    pixels = (images.astype(jnp.float32) - 127.5) / 128
    return jnp.asarray(Network().apply({"params": params}, pixels))


# -- Which triplets a batch holds: Sec. 3.2 --------------------------------------------


def squared_distances(embeddings: jax.Array) -> jax.Array:
    """||f(x_i) - f(x_j)||^2 of every two images, (B, B); of points on the sphere it is 2 - 2 cos."""
    cosine = jnp.dot(embeddings, embeddings.T, precision="highest")  # (B, B)
    return jnp.maximum(2 - 2 * cosine, 0)


def semi_hard(distance: jax.Array, identities: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The negative for every pair of an anchor and a positive: the nearest one that is farther than the positive.

        negative(a, p) = argmin { D(a, n) : D(a, n) > D(a, p), id(n) != id(a) }                                  Eq. (4)

    The hardest negative of all, argmin D(a, n), leads early in training to a collapsed model, f(x) = 0 (Sec. 3.2).
    CHOICE: where no negative is farther than the positive, the farthest one, which pulls least towards collapse.

    Returns:
        Index of the negative for each pair, int32 (B, B), and which entries are pairs, bool (B, B): two images of one
        person. Every pair of the batch is used, not only the hardest (Sec. 3.2).
    """
    is_negative = identities[:, None] != identities[None, :]  # (anchors, gallery)

    def of_anchor(distance: jax.Array, is_negative: jax.Array) -> jax.Array:  # (B,) each
        is_farther = is_negative[None, :] & (distance[None, :] > distance[:, None])  # (positives, gallery)  Eq. (4)
        nearest = jnp.argmin(jnp.where(is_farther, distance[None, :], jnp.inf), axis=1)  # (positives,)
        farthest = jnp.argmax(jnp.where(is_negative, distance, -jnp.inf))
        return jnp.where(is_farther.any(axis=1), nearest, farthest)

    is_pair = ~is_negative & ~jnp.eye(len(identities), dtype=bool)
    return jax.vmap(of_anchor)(distance, is_negative), is_pair


# -- The loss: Sec. 3.1 ----------------------------------------------------------------


def loss(params: Params, batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Eq. (3) over the triplets of a batch.

        L = sum_i [ ||f(x_a) - f(x_p)||^2 - ||f(x_a) - f(x_n)||^2 + alpha ]_+

    It is 0 where the anchor is nearer to the positive than to the negative by alpha, as Eq. (1) asks.
    DEVIATION D01: the mean over triplets that are not there yet, in place of the sum.
    """
    images, identities = batch
    distance = squared_distances(embed(params, images))  # (B, B)
    negative, is_pair = semi_hard(jax.lax.stop_gradient(distance), identities)
    d_ap, d_an = distance, jnp.take_along_axis(distance, negative, axis=1)  # (anchors, positives)
    per_pair = jnp.where(is_pair, jax.nn.relu(d_ap - d_an + ALPHA), 0)  # Eq. (3)
    active = jnp.sum(per_pair > 0)
    return jnp.sum(per_pair) / jnp.maximum(active, 1), {"active": active / jnp.sum(is_pair)}


# -- One step: Sec. 3.3 ----------------------------------------------------------------

optimiser = optax.adagrad(optax.cosine_decay_schedule(LEARNING_RATE, STEPS))  # PAPER: lowered, without saying how


@jax.jit
def step(params: Params, opt_state: Any, batch: Batch) -> tuple[Params, Any, dict[str, jax.Array]]:
    """SGD with AdaGrad (Sec. 3.3): state in, state out."""
    (value, metrics), gradients = jax.value_and_grad(loss, has_aux=True)(params, batch)
    updates, opt_state = optimiser.update(gradients, opt_state, params)
    new: Any = optax.apply_updates(params, updates)
    return new, opt_state, metrics | {"loss": value}


def draw_batch(images: np.ndarray, identities: np.ndarray, rng: np.random.Generator) -> Batch:
    """Some people with several images each, so that mining finds something (Sec. 3.2); half of them mirrored."""
    people = rng.choice(np.unique(identities), PEOPLE, replace=False)
    rows = np.concatenate([rng.choice(np.flatnonzero(identities == one), IMAGES_EACH, replace=False) for one in people])
    mirrored = rng.random(len(rows)) < 0.5
    pixels = np.where(mirrored[:, None, None, None], images[rows][:, :, ::-1], images[rows])  # (B, rows, columns, 3)
    return jnp.asarray(pixels), jnp.asarray(identities[rows])


# -- Is it one person or two: Sec. 4 ---------------------------------------------------


def verification(params: Params) -> VerificationResult:
    """Pairs of people whom training never shows: the threshold of D(x_i, x_j) from nine folds, tested on the tenth."""
    faces = generated_faces(identities=60, images_per_identity=16, size=48, seed=0, first_identity=400)
    pairs = generated_pairs(faces)  # 10 folds of 150 pairs of one person and 150 of two
    embeddings = np.concatenate([jax.jit(embed)(params, part) for part in np.split(faces.images, 8)])
    names = [f"image {row}" for row in range(len(embeddings))]
    return verify(embeddings, names, pairs.first, pairs.second, pairs.same, pairs.fold)


def main() -> None:
    """Draw faces, train, verify."""
    start = time.perf_counter()
    faces = generated_faces(identities=400, images_per_identity=16, size=48, seed=0)
    params = Network().init(jax.random.key(0), jnp.zeros((1, 48, 48, 3)))["params"]
    opt_state, rng = optimiser.init(params), np.random.default_rng(0)
    print(f"untrained: {100 * verification(params).accuracy:.2f}% of 3,000 pairs")
    for number in range(1, STEPS + 1):
        params, opt_state, metrics = step(params, opt_state, draw_batch(faces.images, faces.identities, rng))
        if number % 50 == 0:
            print(f"step {number}: loss {metrics['loss']:.4f}, active triplets {100 * metrics['active']:.0f}%")
    result = verification(params)
    seconds = time.perf_counter() - start
    print(f"trained:   {100 * result.accuracy:.2f} +- {100 * result.accuracy_se:.2f}% of 3,000 pairs, {seconds:.0f} s")


if __name__ == "__main__":
    main()
