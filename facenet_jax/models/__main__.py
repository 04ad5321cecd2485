"""`python -m facenet_jax.models nn2`: a network's parameters and multiply-adds, layer by layer, as Tables 1 and 2.

Not here: the counting (`faces.counts`).
"""

import argparse

from facenet_jax.models import NETWORKS, make_backbone
from faces import cli, counts


def main(arguments: list[str]) -> None:
    """Parse, count, print."""
    parser = argparse.ArgumentParser(
        prog="python -m facenet_jax.models",
        description=(__doc__ or "").split("`: ")[-1].split("\n")[0],
        epilog=f"Networks: {', '.join(NETWORKS)}.",
    )
    parser.add_argument("network", metavar="NETWORK")
    print(counts.network_table(make_backbone(parser.parse_args(arguments).network, embedding_dim=128)))


if __name__ == "__main__":
    cli.run(main)
