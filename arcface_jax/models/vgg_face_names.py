"""Published weights of VGG-Face by their names (a row of ArcFace's Table 4, arXiv 1801.07698).

    conv3_2.weight     vgg_face_dag.pth, converted from MatConvNet's: red, green, blue
    conv_3_2.weight    prlz77/vgg-face.pytorch, from VGG_FACE.t7: blue, green, red, whose means stay in red's order

Both end in fc6, fc7 and fc8, the last of them the scores of 2,622 people.

Not here: which file is which (`published.py`); the Torch 7 and Caffe files themselves, which are not read.
"""

from arcface_jax.models.torch_names import rows_columns_channels
from arcface_jax.models.vgg_face import STAGES
from faces.preprocessing import WHOLE, Preprocessing
from faces.weights.layouts import Row, kernel, matrix, same

FIRSTS = ("conv1_1.weight", "conv_1_1.weight")
LAST = "fc8.bias"
MEAN = (129.1863, 104.7624, 93.5940)
"""Of the training images: red, green, blue of 0 to 255."""

PREPROCESSING = Preprocessing(
    size=(224, 224),
    channels="rgb",
    mean=MEAN,
    scale=1.0,
    alignment="box_margin",
    margin=0.0,
    resized=256,
    box=WHOLE,
    flip="none",
)
"""Of VGG-Face. CHOICE: the detector's box at 256x256, of which the middle is taken."""


def vgg_face_rows(first: str) -> list[Row]:
    """One row for each parameter, in the naming whose first convolution is called so."""
    before, rows = first.removesuffix("1_1.weight"), []
    convolutions = [f"{stage}_{place + 1}" for stage, (_, number) in enumerate(STAGES, 1) for place in range(number)]
    for name in convolutions:
        rows.append(Row(f"params/conv{name}/kernel", (f"{before}{name}.weight",), kernel))
        rows.append(Row(f"params/conv{name}/bias", (f"{before}{name}.bias",), same))
    last_map = f"{before}{convolutions[-1]}.bias"  # of as many values as the last map has channels
    rows.append(Row("params/fc6/kernel", ("fc6.weight", last_map), rows_columns_channels))
    rows += [Row(f"params/{ours}/kernel", (f"{theirs}.weight",), matrix) for ours, theirs in _MATRICES[1:]]
    return rows + [Row(f"params/{ours}/bias", (f"{theirs}.bias",), same) for ours, theirs in _MATRICES]


_MATRICES = (("fc6", "fc6"), ("fc7", "fc7"), ("fc", "fc8"))
"""Our name and theirs."""
