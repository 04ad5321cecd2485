"""A network without its framework: two pure functions, made from a Flax module.

A network is a Flax module only where it is defined. Everything else sees a `Backbone`: `init` makes parameters, `apply`
turns images into embeddings.

Not here: the networks (`models/` of each paper), class centres and losses.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jax.typing import DTypeLike

from faces import ops
from faces.errors import ConfigError
from faces.initialisers import init_variables
from faces.mesh import DATA
from faces.schema import nearest_of_all

Params = dict[str, Any]
BatchStats = dict[str, Any]


class Apply(Protocol):
    """`apply(params, batch_stats, images, train, key=None) -> (embeddings, batch_stats)`, see `Backbone`."""

    def __call__(
        self, params: Params, batch_stats: BatchStats, images: jax.Array, train: bool, key: jax.Array | None = None, /
    ) -> tuple[jax.Array, BatchStats]: ...


class Backbone(NamedTuple):
    """A network without its framework.

    `init(key) -> (params, batch_stats)`: float32 trees; `batch_stats` is `{}` in a network without batch norm.
    `apply(params, batch_stats, images, train, key) -> (embeddings, batch_stats)`: images (B, H, W, 3), normalised,
    float32 or bfloat16; embeddings (B, d), float32; of length 1 if the network makes them so. With `train` batch norm
    uses the batch's statistics and the running ones are updated, and dropout draws from `key`, which networks without
    dropout do not need; `train` is a Python bool, static under `jax.jit`. `input_size`: rows and columns of the images.
    """

    init: Callable[[jax.Array], tuple[Params, BatchStats]]
    apply: Apply
    input_size: tuple[int, int]


class Network(NamedTuple):
    """How to make a network: `module(embedding_dim=d, dtype=t)`, and the size of the images it was published for.

    The module is called as `module(images, train)`. Its kernels are made by `faces.initialisers`.
    """

    module: Callable[..., nn.Module]
    input_size: tuple[int, int]


def make_backbone(
    networks: Mapping[str, Network],
    name: str,
    embedding_dim: int,
    dtype: DTypeLike = jnp.float32,
    input_size: tuple[int, int] | None = None,
    dropout: float | None = None,
) -> Backbone:
    """The network `name` of a table of networks.

    Args:
        networks: the table.
        name: its row.
        embedding_dim: d, the length of the embedding.
        dtype: of the arithmetic, float32 or bfloat16. Parameters, batch statistics and embeddings are float32 in
            either.
        input_size: rows and columns of the images; None for the published size.
        dropout: its rate in training, of a network that has an attribute of this name; None for the published one.

    Raises:
        ConfigError: for an unknown name, and for dropout where the network has none. `apply` raises it for images of
            another size.
    """
    if name not in networks:
        raise ConfigError(f'there is no network "{name}"; {nearest_of_all(name, tuple(networks))}')
    network = networks[name] if dropout is None else _with_dropout(networks[name], name, dropout)
    height, width = input_size or network.input_size
    module = network.module(embedding_dim=embedding_dim, dtype=dtype)

    @jax.jit
    def init(key: jax.Array) -> tuple[Params, BatchStats]:
        variables = init_variables(module, key, jnp.zeros((1, height, width, 3)), train=False)
        return variables["params"], variables.get("batch_stats", {})

    def apply(
        params: Params, batch_stats: BatchStats, images: jax.Array, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, BatchStats]:
        if images.shape[1:] != (height, width, 3):
            given = "x".join(map(str, images.shape[1:]))
            raise ConfigError(
                f"{name} is set up for images of {height}x{width}x3 and was given {given}: resize the images, or give "
                "the network their size"
            )
        variables = {"params": params, "batch_stats": batch_stats}
        mutable = ["batch_stats"] if train and batch_stats else []
        rngs = {} if key is None else {"dropout": key}
        outputs: Any = module.apply(variables, images, train=train, mutable=mutable, rngs=rngs)
        embeddings, updated = outputs
        return embeddings, updated.get("batch_stats", batch_stats)

    return Backbone(init, apply, (height, width))


def has_dropout(network: Network) -> bool:
    """Whether a network has dropout, whose rate is then an attribute of its module."""
    made = getattr(network.module, "func", network.module)  # of a class, or of a partial of one
    return "dropout" in getattr(made, "__dataclass_fields__", {})


def _with_dropout(network: Network, name: str, rate: float) -> Network:
    if has_dropout(network):
        return network._replace(module=partial(network.module, dropout=rate))
    if rate > 0.0:
        raise ConfigError(f"{name} has no dropout and was given a rate of {rate}: set model.dropout to 0")
    return network


def check_size(backbone: Backbone, name: str, networks: Mapping[str, Network]) -> None:
    """Refuse a size of images of which a network's layers leave nothing, or cannot halve; no array is made.

    Args:
        backbone: of `make_backbone`.
        name, networks: as it took them.
    Raises:
        ConfigError: with the size that the network was published for.
    """
    published = networks[name].input_size
    if backbone.input_size == published:
        return
    try:
        jax.eval_shape(backbone.init, jax.eval_shape(lambda: jax.random.key(0)))
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise ConfigError(
            f"model.input_size = {list(backbone.input_size)}: the layers of {name} cannot divide images of this size; "
            f"it was published for {list(published)}."
        ) from error


def check_statistics(batch_norm: str, has_weights: bool) -> None:
    """Refuse statistics of batch norm that are to stay as they came, where nothing came.

    Args:
        batch_norm: of a config's model.
        has_weights: whether training starts with weights from elsewhere.
    Raises:
        ConfigError: as said.
    """
    if batch_norm == "running" and not has_weights:
        raise ConfigError(
            'model.batch_norm = "running": keeps the statistics that the weights of --init came with (in a program: '
            'of a backbone of your own), and there is no --init and no such backbone; give one, or take "global".'
        )


def normalised(backbone: Backbone) -> Backbone:
    """The same network with embeddings of length 1."""

    def apply(
        params: Params, batch_stats: BatchStats, images: jax.Array, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, BatchStats]:
        embeddings, batch_stats = backbone.apply(params, batch_stats, images, train, key)
        return ops.l2_normalise(embeddings), batch_stats

    return backbone._replace(apply=apply)


def training_form(apply: Apply, batch_norm: str, mesh: Mesh) -> Apply:
    """What a train step calls: `apply` with the batch norm that a config asks for.

    With "running" statistics the network is the one that evaluation sees, and dropout has no place in it.
    """
    if batch_norm == "per_device":
        return per_device(apply, mesh)
    if batch_norm != "running":
        return apply

    def apply_as_evaluated(
        params: Params, batch_stats: BatchStats, images: jax.Array, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, BatchStats]:
        return apply(params, batch_stats, images, False, key)

    return apply_as_evaluated


def per_device(apply: Apply, mesh: Mesh) -> Apply:
    """The training form of `apply` in which each device normalises by the statistics of its own images.

    The running statistics are the mean of the devices'. Dropout differs between devices.
    """

    def on_one_device(params: Params, batch_stats: BatchStats, images: jax.Array, key: jax.Array | None) -> Any:
        key = None if key is None else jax.random.fold_in(key, jax.lax.axis_index(DATA))
        # Each device's own copy, so that gradients inside are its own images' alone; they are summed on the way out.
        params, batch_stats = jax.tree.map(lambda x: jax.lax.pcast(x, DATA, to="varying"), (params, batch_stats))
        embeddings, batch_stats = apply(params, batch_stats, images, True, key)
        return embeddings, jax.tree.map(partial(jax.lax.pmean, axis_name=DATA), batch_stats)

    whole, part = PartitionSpec(), PartitionSpec(DATA)
    on_all = jax.shard_map(on_one_device, mesh=mesh, in_specs=(whole, whole, part, whole), out_specs=(part, whole))

    def apply_to_all(
        params: Params, batch_stats: BatchStats, images: jax.Array, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, BatchStats]:
        return on_all(params, batch_stats, images, key) if train else apply(params, batch_stats, images, False)

    return apply_to_all
