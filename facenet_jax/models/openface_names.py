"""Published weights of OpenFace's nn4.small2 by their names (Table 2 of FaceNet, arXiv 1503.03832, as it reads it).

OpenFace publishes Torch 7 files, which are not read. thnkim/OpenFacePytorch has nn4.small2.v1 as a state dict,
`openface.pth`, whose names count Torch's layers:

    layer1.weight, layer2.weight         the first convolution and its batch norm
    layer14.seq_list.0.4_conv.weight     inception 3a: branch 0, 3x3; 1, 5x5; then the pooling's, then the 1x1
    layer25.weight                       the last matrix

Not here: which file is which (`published.py`).
"""

from collections.abc import Iterator, Mapping

from facenet_jax.models.inception import Row as Module
from facenet_jax.models.openface import NN4_SMALL2_ROWS
from faces.preprocessing import WHOLE, Preprocessing
from faces.weights.layouts import Norm, Row, batch_norm, kernel, matrix, same

EPSILON = 1e-5
"""Added to the variance in every batch norm, here and there."""
LAST = "layer25.weight"
"""The last matrix."""
MODULES: Mapping[str, int] = {"3a": 14, "3b": 15, "3c": 16, "4a": 17, "4e": 18, "5a": 19, "5b": 21}
"""Torch's number of each inception module."""

PREPROCESSING = Preprocessing(
    size=(96, 96),
    channels="rgb",
    mean=0.0,
    scale=255.0,
    alignment="box_margin",
    margin=0.0,
    resized=0,
    box=WHOLE,
    flip="none",
)
"""Pixels of 0 to 1. CHOICE: OpenFace brings the outer corners of the eyes and the nose to fixed places, by landmarks of
dlib's that detectors here do not find; the box alone, from brow to chin, is the nearest to what it sees."""


def openface_rows() -> list[Row]:
    """One row for each parameter of nn4.small2."""
    rows = []
    for ours, conv, norm in _convolutions():
        rows.append(Row(f"params/{ours}/kernel", (f"{conv}.weight",), kernel))
        rows.append(Row(f"params/{ours}/bias", (f"{conv}.bias",), same))
        names = Norm(f"{norm}.weight", f"{norm}.bias", f"{norm}.running_mean", f"{norm}.running_var", EPSILON)
        rows += batch_norm(f"{ours}_norm", names, EPSILON)
    return [*rows, Row("params/fc/kernel", (LAST,), matrix), Row("params/fc/bias", ("layer25.bias",), same)]


def is_weight(name: str) -> bool:
    """Others are PyTorch's counters."""
    return not name.endswith("num_batches_tracked")


def _convolutions() -> Iterator[tuple[str, str, str]]:
    """Our name, theirs of the convolution, theirs of its batch norm."""
    yield "conv1", "layer1", "layer2"
    yield "inception_2/reduce_3x3", "layer6", "layer7"
    yield "inception_2/conv_3x3", "layer9", "layer10"
    for name, row in NN4_SMALL2_ROWS.items():
        for ours, place in _of_module(row):
            conv, norm = (f"layer{MODULES[name]}.seq_list.{one}" for one in place)
            yield f"inception_{name}/{ours}", conv, norm


def _of_module(row: Module) -> Iterator[tuple[str, tuple[str, str]]]:
    """Convolutions of a module, and where each and its batch norm stand among its branches."""
    sizes = ("3x3", "5x5") if row.five else ("3x3",)
    for branch, size in enumerate(sizes):
        yield f"reduce_{size}", (f"{branch}.1_conv", f"{branch}.2_bn")
        yield f"conv_{size}", (f"{branch}.4_conv", f"{branch}.5_bn")
    if row.projection:
        yield "pool_projection", (f"{len(sizes)}.2_conv", f"{len(sizes)}.3_bn")
    if row.one:
        yield "conv_1x1", (f"{len(sizes) + 1}.1_conv", f"{len(sizes) + 1}.2_bn")
