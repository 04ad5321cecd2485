"""`python -m facenet_jax.models nn2`: a network's parameters and multiply-adds, layer by layer, as Tables 1 and 2.

Not here: the counting (`faces.counts`).
"""

import jax
import jax.numpy as jnp

from facenet_jax.models import NETWORKS, make_backbone
from faces import cli, counts
from faces.errors import ConfigError


def main(arguments: list[str]) -> None:
    if len(arguments) != 1:
        raise ConfigError(f"give one network of {', '.join(NETWORKS)}")
    backbone = make_backbone(arguments[0], embedding_dim=128)
    params, batch_stats = jax.eval_shape(backbone.init, jax.random.key(0))
    image = jax.ShapeDtypeStruct((1, *backbone.input_size, 3), jnp.float32)
    operations = counts.multiply_adds(lambda p, b, x: backbone.apply(p, b, x, False), params, batch_stats, image)
    print(counts.layer_table(counts.parameters(params), operations))


if __name__ == "__main__":
    cli.run(main)
