"""The gradient of a loss over the whole batch, in the memory of a part of it.

Mining needs about 1,800 images in a batch (Sec. 3.2 of FaceNet, arXiv 1503.03832); the activations of so many do not
fit one small device. But the loss sees an image only through its embedding, so the chain rule splits there:

1. embed all images, part by part, keeping nothing but the embeddings;
2. take the loss of all embeddings and its gradient with respect to each of them: g_i = dL / df(x_i);
3. embed each part again, now with its backward pass, started with that part's g_i; add up the parameters' gradients.

The result is the full batch's gradient, not an approximation, for one more forward pass. It is so only where an
image's embedding does not depend on its neighbours: batch norm breaks that (each part would have its own statistics),
and `facenet_jax.config` refuses the combination.

Not here: the loss. Source of the idea: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited
Setup" (arXiv 2101.06983); the FaceNet paper does not say how it fitted its batch.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from faces.mesh import DATA

_WHOLE, _PARTS = PartitionSpec(), PartitionSpec(None, DATA)

Embed = Callable[[Any, jax.Array], jax.Array]
"""(params, images) -> embeddings (images, d)."""


def value_and_grad(
    embed: Embed,
    loss: Callable[[jax.Array, Any], tuple[jax.Array, Any]],
    params: Any,
    centres: Any,
    images: jax.Array,
    micro_batch: int,
    mesh: Mesh,
) -> tuple[tuple[jax.Array, Any], Any]:
    """`jax.value_and_grad` of loss(embed(params, images), centres) by `params` and `centres`, in two passes.

    Args:
        embed: one image's embedding must not depend on the others.
        loss: (embeddings (batch, d), centres) -> (scalar, anything to hand through).
        params: a pytree.
        centres: what the loss has to train beside the network, a pytree; {} for nothing.
        images: (batch, ...), divided over the mesh.
        micro_batch: images embedded at a time, over all devices; divides the batch.
        mesh: each micro-batch is divided over its devices too, taking an equal share of what each of them holds.
    Returns:
        ((loss, what was handed through), (gradient by `params`, gradient by `centres`)).
    """
    batch = images.shape[0]
    parts = batch // micro_batch
    # Part m takes every parts-th image, so that it draws on all devices' images and none has to move.
    grouped = images.reshape(micro_batch, parts, *images.shape[1:]).swapaxes(0, 1)  # (parts, micro_batch, ...)
    grouped = jax.lax.with_sharding_constraint(grouped, NamedSharding(mesh, _PARTS))

    embeddings = jax.lax.map(lambda part: embed(params, part), grouped)  # (parts, micro_batch, d)

    def loss_of_grouped(embeddings: jax.Array, centres: Any) -> tuple[jax.Array, Any]:
        return loss(embeddings.swapaxes(0, 1).reshape(batch, -1), centres)  # back in the batch's own order

    value, (g, centres_grads) = jax.value_and_grad(loss_of_grouped, (0, 1), has_aux=True)(embeddings, centres)

    def on_one_device(params: Any, grouped: jax.Array, g: jax.Array) -> Any:
        # Each device's own copy, so that the gradient is of its own images until all parts are added: one exchange.
        params = jax.tree.map(lambda x: jax.lax.pcast(x, DATA, to="varying"), params)

        def add_part(total: Any, part: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
            part_images, part_g = part
            _, pull_back = jax.vjp(lambda p: embed(p, part_images), params)
            (grads,) = pull_back(part_g)
            return jax.tree.map(jnp.add, total, grads), None

        zero = jax.tree.map(jnp.zeros_like, params)
        total, _ = jax.lax.scan(add_part, zero, (grouped, g))
        return jax.lax.psum(total, DATA)

    run = jax.shard_map(on_one_device, mesh=mesh, in_specs=(_WHOLE, _PARTS, _PARTS), out_specs=_WHOLE)
    return value, (run(params, grouped, g), centres_grads)
