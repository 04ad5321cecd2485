"""The class centres of ArcFace (arXiv 1801.07698), W of Eq. (1) to (4), as an array divided over devices by class.

Each device holds an equal share of the rows; the last few may be padding, which the head masks. The K sub-centres of a
class (v4 Sec. 3.2) lie in one row.

Not here: the loss against them (`head.py`), their optimiser (`train_step.py`).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int, Key

from arcface_jax import partial_fc
from faces import ops
from faces.errors import DataError
from faces.mesh import DATA

_FLOAT32 = 4  # bytes


def padded_classes(classes: int, devices: int) -> int:
    """Rows that the centres of so many classes have: the next multiple of the devices."""
    return -(-classes // devices) * devices


def init_centres(key: Key[Array, ""], rows: int, d: int, k: int = 1, linear: bool = False) -> Float[Array, "..."]:
    """Class centres before training, independent normal numbers of spread 0.01.

    CHOICE: the paper is silent; 0.01 is what its authors' code starts from. With cosine scores only directions count,
    but the length divides what a step turns a centre by: short ones turn fast at first, and grow by it.

    Args:
        key: a JAX random key.
        rows: `padded_classes`.
        d: length of an embedding.
        k: centres per class (v4 Sec. 3.2).
        linear: append the bias of Eq. (1), zero, as a last column.
    Returns:
        float32 (rows, d), or (rows, k, d) where k > 1, or with d + 1 columns.
    """
    weights = 0.01 * jax.random.normal(key, (rows, d) if k == 1 else (rows, k, d))
    return jnp.pad(weights, [(0, 0)] * (weights.ndim - 1) + [(0, 1)]) if linear else weights


def check_labels(labels: np.ndarray, classes: int) -> None:
    """Refuse labels that are no class: a device would score them against no centre and train on nonsense.

    Args:
        labels: integers of any shape, on the host.
        classes: labels may be 0 .. classes - 1.
    Raises:
        DataError: one sentence with the smallest or largest label.
    """
    if labels.size == 0:
        return
    smallest, largest = int(labels.min()), int(labels.max())
    if smallest >= 0 and largest < classes:
        return
    sentence = f"labels of {classes:,} classes must lie in 0 .. {classes - 1}, these lie in {smallest} .. {largest}"
    if smallest == 1 and largest == classes:
        raise DataError(f"{sentence}: if they start at 1, subtract 1 from each; else correct them.")
    raise DataError(f"{sentence}: correct the labels or the number of classes.")


def own_centre(
    centres: Float[Array, "rows *k width"],
    labels: Int[Array, "batch"],
    mesh: Mesh,
    embeddings: Float[Array, "batch width"] | None = None,
    *,
    axis: str = DATA,
) -> Float[Array, "batch width"]:
    """The centre of each image's class, out of centres that are divided over the mesh and stay where they are.

    Args:
        centres, labels, mesh: as `class_loss` has them.
        embeddings: needed where a class has K centres: the one nearest to the image by angle is taken.
        axis: of the mesh, over which images and classes are divided.
    Returns:
        W_y, (batch, width), divided as the labels. Gradients reach the centres.
    Raises:
        ValueError: K centres and no embeddings.
    """

    def on_one_device(centres: Array, labels: Array) -> Array:
        labels = lax.all_gather(labels, axis, tiled=True) - lax.axis_index(axis) * centres.shape[0]
        held = (labels >= 0) & (labels < centres.shape[0])
        rows = centres[jnp.where(held, labels, 0)]  # (batch, [K,] width)
        rows = jnp.where(held.reshape(-1, *[1] * (rows.ndim - 1)), rows, 0)
        return lax.psum_scatter(rows, axis, tiled=True)  # (batch / devices, [K,] width)

    divided = PartitionSpec(axis)
    run = jax.shard_map(on_one_device, mesh=mesh, in_specs=(divided, divided), out_specs=divided)
    rows = run(centres, labels)
    if rows.ndim == 2:
        return rows
    if embeddings is None:
        raise ValueError("a class has several centres: give the embeddings, for the nearest of them")
    cosines = jnp.einsum("bd,bkd->bk", ops.l2_normalise(embeddings), ops.l2_normalise(rows))  # (batch, K)
    return jnp.take_along_axis(rows, jnp.argmax(cosines, axis=1)[:, None, None], axis=1)[:, 0]


def target_cosine_of(
    embeddings: Float[Array, "batch d"],
    centres: Float[Array, "rows *k d"],
    labels: Int[Array, "batch"],
    mesh: Mesh,
) -> Float[Array, "batch"]:
    """cos theta_y of each image, the angle to its own (nearest) centre: for the intra loss, Eq. (5), and for metrics.

    Args: as `class_loss`; no "linear" centres.
    Returns:
        float32 (batch,), divided as the embeddings.
    """
    own = own_centre(centres, labels, mesh, embeddings)
    return jnp.sum(ops.l2_normalise(embeddings) * ops.l2_normalise(own), axis=1)


def memory_estimate(
    batch: int,
    classes: int,
    dim: int,
    devices: int,
    sub_centres: int = 1,
    sampling_rate: float = 1.0,
    block: int = 0,
) -> dict[str, int]:
    """Bytes that the head takes on each device during a step, by item (v3 Appendix 5.1).

    With n rows on a device: 4 d K n for the centres, as much for their momentum; 4 d K n' for their gradient and
    4 B K n' for the scores, n' of the rows taking part; 4 B d for the embeddings of the whole batch.

    Args:
        batch: images of all devices together.
        classes: in all.
        dim: columns of the centres, d, or d + 1 for "linear" scores.
        devices: that share the centres.
        sub_centres: K.
        sampling_rate: of `partial_fc`; below 1 the sampled centres and their momentum are copies of their own.
        block: as `head.class_loss` takes it.
    Returns:
        Item -> bytes. The network and what its backward pass saves are not among them.
    """
    rows = padded_classes(classes, devices) // devices
    taking_part = partial_fc.num_sampled(rows, batch, sampling_rate)
    at_once = min(block, taking_part) if block else taking_part
    row, embeddings = _FLOAT32 * sub_centres * dim, _FLOAT32 * batch * dim
    scores = _FLOAT32 * batch * at_once * sub_centres
    items = {"centres": rows * row, "momentum": rows * row}
    if sampling_rate < 1:
        items |= {"sampled centres": taking_part * row, "sampled momentum": taking_part * row}
    return items | {
        "gradient of centres": taking_part * row,
        "embeddings": embeddings,
        "gradient of embeddings": embeddings,
        "scores": scores,
        "gradient of scores": scores,
    }


def describe_memory(
    batch: int,
    classes: int,
    dim: int,
    devices: int,
    sub_centres: int = 1,
    sampling_rate: float = 1.0,
    block: int = 0,
) -> str:
    """`memory_estimate` as one line, in MB of 10^6 bytes, to be printed before training starts."""
    items = memory_estimate(batch, classes, dim, devices, sub_centres, sampling_rate, block)
    parts = ", ".join(f"{item} {size / 1e6:,.1f}" for item, size in items.items())
    where = "on the device" if devices == 1 else f"on each of {devices} devices"
    return f"memory of the head {where}: {sum(items.values()) / 1e6:,.1f} MB ({parts})"
