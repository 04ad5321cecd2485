"""The networks of FaceNet (arXiv 1503.03832, Sec. 3.3) and of its open relatives, as two pure functions each.

A network is a Flax module only in here. Everything else sees a `Backbone`: `init` makes parameters, `apply` turns
images into embeddings. To add a network, add a row to `NETWORKS`.

Not here: class centres and losses; the network ends at the normalised embedding.
"""

import difflib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from facenet_jax.models import openface
from facenet_jax.models.inception import NN2_ROWS, NN4_ROWS, WITHOUT_5X5_ROWS, InceptionNet
from facenet_jax.models.mini_inception import NNS1_ROWS, NNS1_STEM, NNS2_ROWS, NNS2_STEM, NNS_FC1
from facenet_jax.models.nn1 import NN1
from facenet_jax.models.small import SMALL_STAGES, TINY_STAGES, SmallNet
from faces.errors import ConfigError

Params = dict[str, Any]
BatchStats = dict[str, Any]


class Backbone(NamedTuple):
    """A network without its framework.

    `init(key) -> (params, batch_stats)`: float32 trees; `batch_stats` is `{}` in a network without batch norm.
    `apply(params, batch_stats, images, train) -> (embeddings, batch_stats)`: images (B, H, W, 3), normalised, float32
    or bfloat16; embeddings (B, d), float32, of length 1. With `train` batch norm uses the batch's statistics and the
    running ones are updated; it is a Python bool, static under `jax.jit`.
    `input_size`: rows and columns of the images.
    """

    init: Callable[[jax.Array], tuple[Params, BatchStats]]
    apply: Callable[[Params, BatchStats, jax.Array, bool], tuple[jax.Array, BatchStats]]
    input_size: tuple[int, int]


class Network(NamedTuple):
    """How to make a network: `module(embedding_dim=d, dtype=t)`, and the size of the images it was published for.

    The module is called as `module(images, train)`.
    """

    module: Callable[..., nn.Module]
    input_size: tuple[int, int]


NETWORKS: dict[str, Network] = {
    "nn1": Network(NN1, (220, 220)),
    "nn2": Network(partial(InceptionNet, rows=NN2_ROWS), (224, 224)),
    "nn3": Network(partial(InceptionNet, rows=NN2_ROWS), (160, 160)),
    "nn4": Network(partial(InceptionNet, rows=NN4_ROWS), (96, 96)),
    "nn4_without_5x5": Network(partial(InceptionNet, rows=WITHOUT_5X5_ROWS), (96, 96)),
    "nns1": Network(partial(InceptionNet, rows=NNS1_ROWS, stem=NNS1_STEM, fc1=NNS_FC1), (165, 165)),
    # CHOICE: rows x columns, as the tables write sizes; a face is taller than wide.
    "nns2": Network(partial(InceptionNet, rows=NNS2_ROWS, stem=NNS2_STEM, fc1=NNS_FC1), (140, 116)),
    "openface_nn4": Network(partial(openface.OpenFaceNet, rows=openface.NN4_ROWS), (96, 96)),
    "openface_nn4_small2": Network(partial(openface.OpenFaceNet, rows=openface.NN4_SMALL2_ROWS), (96, 96)),
    "small": Network(partial(SmallNet, stages=SMALL_STAGES, stem=32), (64, 64)),
    "tiny": Network(partial(SmallNet, stages=TINY_STAGES, stem=24), (48, 48)),
}


def make_backbone(
    name: str,
    embedding_dim: int,
    dtype: DTypeLike = jnp.float32,
    input_size: tuple[int, int] | None = None,
) -> Backbone:
    """The network `name` of `NETWORKS`.

    Args:
        name: key of `NETWORKS`.
        embedding_dim: d, the length of the embedding.
        dtype: of the arithmetic, float32 or bfloat16. Parameters, batch statistics and the final L2 normalisation are
            float32 in either.
        input_size: rows and columns of the images; None for the published size. NN1, NNS1 and NNS2 have as many
            parameters as their size asks for, the others the same at every size.

    Raises:
        ConfigError: for an unknown name. `apply` raises it for images of another size.
    """
    if name not in NETWORKS:
        nearest = difflib.get_close_matches(name, NETWORKS, n=1, cutoff=0.0)[0]
        raise ConfigError(f'there is no network "{name}"; the nearest is "{nearest}" (all: {", ".join(NETWORKS)})')
    network = NETWORKS[name]
    height, width = input_size or network.input_size
    module = network.module(embedding_dim=embedding_dim, dtype=dtype)

    @jax.jit
    def init(key: jax.Array) -> tuple[Params, BatchStats]:
        variables: Any = module.init(key, jnp.zeros((1, height, width, 3)), train=False)
        return _draw_kernels(key, variables["params"]), variables.get("batch_stats", {})

    def apply(
        params: Params, batch_stats: BatchStats, images: jax.Array, train: bool
    ) -> tuple[jax.Array, BatchStats]:
        if images.shape[1:] != (height, width, 3):
            given = "x".join(map(str, images.shape[1:]))
            raise ConfigError(
                f"{name} is set up for images of {height}x{width}x3 and was given {given}: resize the images, or give "
                "the network their size"
            )
        variables = {"params": params, "batch_stats": batch_stats}
        mutable = ["batch_stats"] if train and batch_stats else []
        outputs: Any = module.apply(variables, images, train=train, mutable=mutable)
        embeddings, updated = outputs
        return embeddings, updated.get("batch_stats", batch_stats)

    return Backbone(init, apply, (height, width))


def _draw_kernels(key: jax.Array, params: Params) -> Params:
    """Multiply the kernels, which the modules set to their standard deviations, by unit normals.

    One draw is cut up for all of them: XLA takes half a second to compile a draw, which for each kernel of an Inception
    network by itself comes to half a minute.
    """
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    is_kernel = [path[-1].key == "kernel" for path, _ in leaves]
    ends = np.cumsum([leaf.size * drawn for (_, leaf), drawn in zip(leaves, is_kernel, strict=True)])
    normal = jax.random.normal(key, (int(ends[-1]),))  # (all kernels' elements,)
    return jax.tree_util.tree_unflatten(
        tree,
        [
            leaf * normal[end - leaf.size : end].reshape(leaf.shape) if drawn else leaf
            for (_, leaf), drawn, end in zip(leaves, is_kernel, ends.tolist(), strict=True)
        ],
    )
