"""Layers that the networks of ArcFace (arXiv 1801.07698, Sec. 3.1) and of its relatives share.

Batch norm as those networks set it up, and the name of the last layer.

Not here: the networks themselves (`iresnet.py`, `mobilefacenet.py`, `sphereface.py`), and what other papers' networks
have too, convolutions and PReLU (`faces.layers`).
"""

import flax.linen as nn
from jax.typing import DTypeLike

LAST_LAYER = "fc"
"""Name of the matrix that makes the embedding, in every network here."""


def batch_norm(train: bool, dtype: DTypeLike, name: str, epsilon: float = 2e-5, use_scale: bool = True) -> nn.BatchNorm:
    """Batch norm as the published IResNets set it: eps 2e-5, running statistics that keep 0.9 of themselves.

    CHOICE: Sec. 3.1 names the framework, MXNet, and not these values, which are its code's.
    """
    return nn.BatchNorm(
        use_running_average=not train, momentum=0.9, epsilon=epsilon, use_scale=use_scale, dtype=dtype, name=name
    )
