"""Published weights of MobileNetV1-FaceNet by their names (FaceNet, arXiv 1503.03832, Sec. 3.3, has no such network).

bubbliiiing/facenet-pytorch saves `facenet_mobilenet.pth` as a state dict:

    backbone.model.stage1.0.0.weight     the first convolution; `.1` is its batch norm
    backbone.model.stage2.3.3.weight     stage 2, block 3: 0 and 1 depthwise and its batch norm, 3 and 4 pointwise
    Bottleneck.weight, last_bn.weight    the matrix and the embedding's batch norm
    classifier.weight                    of the training's people; left out

Not here: which file is which (`published.py`).
"""

from collections.abc import Iterator, Sequence

from facenet_jax.models.mobilenet_v1 import BLOCKS, EPSILON, LAST_EPSILON
from faces.weights.layouts import Norm, Row, batch_norm, kernel, matrix

FIRST = "backbone.model.stage1.0.0.weight"
"""The first convolution."""
LAST = "Bottleneck.weight"
"""The last matrix, in all networks of that repository."""
STAGES: Sequence[int] = (5, 6, 2)
"""Blocks of each stage; the first stage begins with the convolution before them."""


def mobilenet_v1_rows() -> list[Row]:
    """One row for each parameter of the network."""
    rows = []
    for ours, conv, norm in _convolutions():
        rows.append(Row(f"params/{ours}/kernel", (f"{conv}.weight",), kernel))
        rows += batch_norm(f"{ours}_norm", _torch_norm(norm, EPSILON), EPSILON)
    rows.append(Row("params/fc/kernel", (LAST,), matrix))
    return rows + batch_norm("embedding_norm", _torch_norm("last_bn", LAST_EPSILON), LAST_EPSILON)


def is_weight(name: str) -> bool:
    """Others are PyTorch's counters, and the classifier that training has beside the triplets."""
    return not (name.startswith("classifier.") or name.endswith("num_batches_tracked"))


def _convolutions() -> Iterator[tuple[str, str, str]]:
    """Our name, theirs of the convolution, theirs of its batch norm."""
    places = [(stage, place) for stage, number in enumerate(STAGES, start=1) for place in range(number)]
    yield "conv1", "backbone.model.stage1.0.0", "backbone.model.stage1.0.1"
    for block, (stage, place) in enumerate(places[: len(BLOCKS)], start=1):
        theirs = f"backbone.model.stage{stage}.{place + (stage == 1)}"  # stage 1 has the first convolution as its 0
        yield f"block{block}/depthwise", f"{theirs}.0", f"{theirs}.1"
        yield f"block{block}/pointwise", f"{theirs}.3", f"{theirs}.4"


def _torch_norm(name: str, epsilon: float) -> Norm:
    return Norm(f"{name}.weight", f"{name}.bias", f"{name}.running_mean", f"{name}.running_var", epsilon)
