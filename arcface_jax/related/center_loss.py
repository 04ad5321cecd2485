"""Centre loss (Wen et al., ECCV 2016): softmax, and beside it a pull of each embedding to its person's mean.

It answered plain softmax (ArcFace's Eq. 1), which lets the embeddings of a person spread along a ray:
    L = L_softmax + lambda / 2 sum_i norm(x_i - c_{y_i})^2.
The centres c are no weights of the classifier and are not moved by the gradient: each follows the mean of its images,
    dc_j = sum_{i: y_i = j} (c_j - x_i) / (1 + n_j),   c_j <- c_j - alpha dc_j,
where n_j counts the images of person j in the batch; the 1 keeps a centre of no images in place. SphereFace and ArcFace
answered that the classifier's own W_j serve as centres, once distance is the angle to them.

Geometry: Euclidean; a person becomes a ball around its mean, where softmax leaves it a cone.

CHOICE: centres start at zero, and the pull is a mean over the batch as the classification is, not a sum.

Not here: the softmax (`head.py`).
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from faces.mesh import DATA


def pull(embeddings: Float[Array, "batch d"], own_means: Float[Array, "batch d"]) -> Float[Array, "batch"]:
    """What each image adds, before lambda: norm(x_i - c_{y_i})^2 / 2.

    Args:
        embeddings: of any length, (batch, d).
        own_means: c_{y_i} of each, (batch, d); no gradient reaches them.
    Returns:
        float32 (batch,).
    """
    apart = embeddings.astype(jnp.float32) - lax.stop_gradient(own_means.astype(jnp.float32))
    return jnp.sum(jnp.square(apart), axis=1) / 2


def moved(
    means: Float[Array, "rows d"],
    embeddings: Float[Array, "batch d"],
    labels: Int[Array, "batch"],
    alpha: float,
    mesh: Mesh,
    *,
    axis: str = DATA,
) -> Float[Array, "rows d"]:
    """The centres after a batch: c_j - alpha sum_{i: y_i = j} (c_j - x_i) / (1 + n_j).

    Args:
        means: c of every person, divided over the mesh by rows.
        embeddings: (batch, d), and labels: row of each image's person; divided over the mesh.
        alpha: the centres' own rate, 0 to 1.
        mesh, axis: devices.
    Returns:
        As `means`; each device moves its own rows. Carries no gradient.
    """

    def on_one_device(means: Array, x: Array, labels: Array) -> Array:
        x, labels = (lax.all_gather(part, axis, tiled=True) for part in (x, labels))
        here = labels - lax.axis_index(axis) * len(means)
        at = jnp.where((here >= 0) & (here < len(means)), here, len(means))  # dropped where it is another device's
        count = jnp.zeros(len(means)).at[at].add(1.0, mode="drop")[:, None]  # (rows, 1)
        total = jnp.zeros_like(means).at[at].add(x, mode="drop")  # (rows, d)
        return means - alpha * (count * means - total) / (1 + count)

    divided = PartitionSpec(axis)
    run = jax.shard_map(on_one_device, mesh=mesh, in_specs=(divided,) * 3, out_specs=divided)
    return run(means, lax.stop_gradient(embeddings.astype(jnp.float32)), labels)
