"""`python -m arcface_jax.models iresnet50`: a network's parameters and multiply-adds, layer by layer (Sec. 3.1).

Not here: the counting (`faces.counts`).
"""

from arcface_jax.models import NETWORKS, make_backbone
from faces import cli, counts
from faces.errors import ConfigError


def main(arguments: list[str]) -> None:
    if len(arguments) != 1:
        raise ConfigError(f"give one network of {', '.join(NETWORKS)}")
    print(counts.network_table(make_backbone(arguments[0], embedding_dim=512)))


if __name__ == "__main__":
    cli.run(main)
