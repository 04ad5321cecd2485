"""ArcFace in one file: J. Deng, J. Guo, N. Xue, S. Zafeiriou, arXiv 1801.07698v3, Sec. 2.

A face is classified among the people of the training set; what the layer before the last says of it is its embedding.
Embeddings x_i and the centres W_j of the people are put on a sphere, so that a logit is the cosine of an angle. The
angle to the own centre is made larger by a margin m while training: an image counts as recognised only when it is
nearer to its own centre than to all others by that arc, and so people become compact and far from each other.

    python -m examples.arcface

trains a small network on generated faces, for less than two minutes on two cores, and tells pairs of people whom it
has never seen apart by the protocol of LFW.

Not here: the paper's networks, photographs, centres divided over many devices, the other rows of Table 2. The package
`arcface_jax` has all of it; its README leads from each section, equation and table to a function. A test holds the loss
and the gradients of this file equal to the package's.
"""

import math
import time
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from faces.data.synthetic.generated import generated_faces, generated_pairs
from faces.evaluate.verification import VerificationResult, verify

EMBEDDING_DIM = 128  # d; PAPER Sec. 3.1: 512
PEOPLE = 400  # n, the classes
MARGIN = 0.5  # m, radians; PAPER Sec. 3.1
SCALE = 32.0  # s; PAPER Sec. 3.1: 64, for many thousands of people
BATCH = 128  # PAPER Sec. 3.1: 512
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-4  # PAPER Sec. 3.1; the rate is lowered
STEPS = 400

Params = Any  # a tree of arrays
Batch = tuple[jax.Array, jax.Array]  # images uint8 (B, rows, columns, 3), labels int32 (B,): the person's number


# -- The network -----------------------------------------------------------------------


class Network(nn.Module):
    """Images (B, rows, columns, 3) -> embeddings (B, d) of any length. CHOICE: the smallest thing that learns."""

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
        x = images
        for channels in (32, 64, 96):
            x = nn.Conv(channels, (3, 3), strides=2, use_bias=False, kernel_init=nn.initializers.he_normal())(x)
            x = nn.relu(norm()(x))  # (B, rows / 2, columns / 2, channels)
        x = nn.Dense(EMBEDDING_DIM)(x.reshape(x.shape[0], -1))  # (B, d)
        return norm()(x)  # PAPER Sec. 3.1: batch norm and a dense layer, and batch norm again, make the embedding


def embed(params: Params, statistics: Params, images: jax.Array, train: bool) -> tuple[jax.Array, Params]:
    """x of images, uint8 (B, rows, columns, 3) -> (B, d), and the running statistics of batch norm."""
    variables = {"params": params["network"], "batch_stats": statistics}
    pixels = (images.astype(jnp.float32) - 127.5) / 128
    x, updated = Network().apply(variables, pixels, train, mutable=["batch_stats"])
    return x, updated["batch_stats"]


# -- The loss: Sec. 2.1 ----------------------------------------------------------------


def unit(vectors: jax.Array) -> jax.Array:
    """Vectors (rows, d) at length 1."""
    return vectors * jax.lax.rsqrt(jnp.sum(vectors * vectors, axis=1, keepdims=True) + 1e-12)


def add_margin(cos_theta: jax.Array) -> jax.Array:
    """cos(theta + m) of cos theta, Eq. (3), without an arccos:

        cos(theta + m) = cos theta cos m - sin theta sin m

    CHOICE: past theta + m = pi the formula stands as published. The clip keeps the derivative of the sine finite.
    """
    cos_theta = jnp.clip(cos_theta, -1 + 1e-6, 1 - 1e-6)
    sin_theta = jnp.sqrt((1 - cos_theta) * (1 + cos_theta))
    return cos_theta * math.cos(MARGIN) - sin_theta * math.sin(MARGIN)


def loss(params: Params, statistics: Params, batch: Batch) -> tuple[jax.Array, tuple[Params, jax.Array]]:
    """Eq. (3), the mean over the batch.

        L = - 1/N sum_i log ( e^{s cos(theta_yi + m)} / ( e^{s cos(theta_yi + m)} + sum_{j != yi} e^{s cos theta_j} ) )

    With m = 0 it is norm-softmax, Eq. (2); with the lengths of x and W left as they are, and a bias, softmax, Eq. (1).
    """
    images, labels = batch
    x, statistics = embed(params, statistics, images, train=True)  # (B, d)
    x, W = unit(x), unit(params["centres"])  # (B, d), (n, d): only angles count from here on
    cos_theta = jnp.dot(x, W.T, precision="highest")  # (B, n)
    is_own = labels[:, None] == jnp.arange(PEOPLE)[None, :]  # (B, n)
    logits = SCALE * jnp.where(is_own, add_margin(cos_theta), cos_theta)  # (B, n)
    per_image = optax.softmax_cross_entropy_with_integer_labels(logits, labels)  # (B,)  Eq. (3)
    theta = jnp.arccos(jnp.sum(jnp.where(is_own, cos_theta, 0), axis=1))  # (B,)
    return jnp.mean(per_image), (statistics, jnp.rad2deg(jnp.mean(theta)))


# -- One step: Sec. 3.1 ----------------------------------------------------------------

optimiser = optax.chain(  # DEVIATION D02: batch norm's scales do not decay
    optax.add_decayed_weights(WEIGHT_DECAY, mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)),
    optax.sgd(optax.cosine_decay_schedule(LEARNING_RATE, STEPS), MOMENTUM),
)


class State(NamedTuple):
    """All that changes while training."""

    params: Params
    statistics: Params
    opt_state: Any


def init(key: jax.Array) -> State:
    """The state before the first step: weights of the network, and centres, one row for each person."""
    network_key, centres_key = jax.random.split(key)
    network = Network().init(network_key, jnp.zeros((1, 48, 48, 3)), train=False)
    centres = jax.random.normal(centres_key, (PEOPLE, EMBEDDING_DIM)) / math.sqrt(EMBEDDING_DIM)  # CHOICE: length 1
    params = {"network": network["params"], "centres": centres}
    return State(params, network["batch_stats"], optimiser.init(params))


@jax.jit
def step(state: State, batch: Batch) -> tuple[State, dict[str, jax.Array]]:
    """SGD with momentum and weight decay (Sec. 3.1), for the network and the centres alike: state in, state out."""
    gradient = jax.value_and_grad(loss, has_aux=True)
    (value, (statistics, theta)), gradients = gradient(state.params, state.statistics, batch)
    updates, opt_state = optimiser.update(gradients, state.opt_state, state.params)
    params: Any = optax.apply_updates(state.params, updates)
    return State(params, statistics, opt_state), {"loss": value, "theta": theta}


def draw_batch(images: np.ndarray, identities: np.ndarray, rng: np.random.Generator) -> Batch:
    """Images at random, half of them mirrored, as in the authors' code: a classifier needs nobody twice in a batch."""
    rows = rng.choice(len(images), BATCH, replace=False)
    mirrored = rng.random(len(rows)) < 0.5
    pixels = np.where(mirrored[:, None, None, None], images[rows][:, :, ::-1], images[rows])  # (B, rows, columns, 3)
    return jnp.asarray(pixels), jnp.asarray(identities[rows])


# -- Is it one person or two: Sec. 3.1 -------------------------------------------------


def verification(state: State) -> VerificationResult:
    """Pairs of people whom training never shows: the threshold of the angle from nine folds, tested on the tenth.

    The centres have done their work: people are compared by their embeddings. On the sphere the squared distance,
    which the protocol takes, is 2 - 2 cos theta.
    """
    faces = generated_faces(identities=60, images_per_identity=16, size=48, seed=0, first_identity=PEOPLE)
    pairs = generated_pairs(faces)  # 10 folds of 150 pairs of one person and 150 of two
    trained = jax.jit(lambda images: unit(embed(state.params, state.statistics, images, train=False)[0]))
    embeddings = np.concatenate([trained(part) for part in np.split(faces.images, 8)])
    names = [f"image {row}" for row in range(len(embeddings))]
    return verify(embeddings, names, pairs.first, pairs.second, pairs.same, pairs.fold)


def main() -> None:
    """Draw faces, train, verify."""
    start = time.perf_counter()
    faces = generated_faces(identities=PEOPLE, images_per_identity=16, size=48, seed=0)
    state, rng = init(jax.random.key(0)), np.random.default_rng(0)
    print(f"untrained: {100 * verification(state).accuracy:.2f}% of 3,000 pairs")
    for number in range(1, STEPS + 1):
        state, metrics = step(state, draw_batch(faces.images, faces.identities, rng))
        if number % 50 == 0:
            print(f"step {number}: loss {metrics['loss']:.3f}, angle to the own centre {metrics['theta']:.0f} degrees")
    result = verification(state)
    seconds = time.perf_counter() - start
    print(f"trained:   {100 * result.accuracy:.2f} +- {100 * result.accuracy_se:.2f}% of 3,000 pairs, {seconds:.0f} s")


if __name__ == "__main__":
    main()
