"""Published weights of networks beside FaceNet's by their names; of FaceNet's own (Sec. 3.3) there are none.

Three families of files hold Inception-ResNet-v1. A TensorFlow graph of davidsandberg/facenet names its constants after
slim's scopes; where the graph was frozen for OpenCV, every batch norm but the last is folded into the kernel before it,
and a bias is left. A state dict of timesler/facenet-pytorch, made from the former, counts branches and layers instead.
bubbliiiing/facenet-pytorch has the same names behind `backbone.model.`, its own training, and a MobileNetV1.

Not here: the names of MobileNetV1 and of OpenFace's network (`mobilenet_v1_names.py`, `openface_names.py`), reading
files (`faces.weights`), and filling in the parameters (`faces.weights.layouts`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from facenet_jax.models import mobilenet_v1_names, openface_names
from facenet_jax.models.inception_resnet_v1 import (
    AFTER_POOL,
    BLOCK_8,
    BLOCK_17,
    BLOCK_35,
    EPSILON,
    MIXED_6A,
    MIXED_7A,
    STEM,
    Branch,
    ConvSpec,
)
from faces.preprocessing import WHOLE, Preprocessing
from faces.weights.layouts import (
    Norm,
    Published,
    Row,
    Tensors,
    folded_norm,
    kernel,
    matrix,
    same,
    scaleless_norm,
)

NETWORK = "inception_resnet_v1"
MOBILENET, OPENFACE = "mobilenet_v1", "openface_nn4_small2"
NETWORKS = (NETWORK, MOBILENET, OPENFACE)
"""Of which published weights are known here."""

PREPROCESSING = Preprocessing(
    size=(160, 160),
    channels="rgb",
    mean=127.5,
    scale=128.0,
    alignment="box_margin",
    margin=44.0,
    resized=182,
    box=WHOLE,
    flip="none",
)
"""Of davidsandberg's models of 2018: the detector's box with 44 pixels at 182x182, of which the middle is kept."""

BUBBLIIIING = replace(PREPROCESSING, mean=0.0, scale=255.0, alignment="two_eyes", margin=0.0, resized=0)
"""Of bubbliiiing's, which divides by 255: the detector's box, turned until the eyes are level, in a letterbox."""

SLIM = "InceptionResnetV1"
"""Scope that all of the network is in."""
FIRST = ("conv2d_1a.conv.weight", mobilenet_v1_names.LAST, openface_names.LAST)
"""Tensors of the namings that may stand behind other words; the second has the network of the first inside."""
_INNER = "backbone.model."
"""Before the names of all but the head in bubbliiiing's files."""


class Place(NamedTuple):
    """One convolution: its name here, in TensorFlow's graph and in PyTorch's state dict."""

    ours: str
    slim: str
    torch: str


def recognise(tensors: Tensors, network: str | None = None) -> Published | None:
    """What the tensors are, or None where no naming that is known here fits.

    Args:
        tensors: of a file, by their names there.
        network: the name of the network that they are of, where the caller knows it; else None.
    """
    other = _bubbliiiing(tensors) or _openface(tensors)
    if other is not None:
        return other if network in (None, other.network) else None
    if network not in (None, NETWORK):
        return None
    if (beta := tensors.get(f"{SLIM}/Bottleneck/BatchNorm/beta")) is not None:
        return Published(NETWORK, beta.size, _slim_rows(tensors), _is_weight_of_slim, PREPROCESSING)
    if (bias := tensors.get("last_bn.bias")) is not None:
        return Published(NETWORK, bias.size, _torch_rows(), _is_weight_of_torch, PREPROCESSING)
    return None


def _bubbliiiing(tensors: Tensors) -> Published | None:
    last = tensors.get(mobilenet_v1_names.LAST)
    if last is None or last.ndim != 2:
        return None
    if mobilenet_v1_names.FIRST in tensors:
        found, rows = MOBILENET, mobilenet_v1_names.mobilenet_v1_rows()
    elif f"{_INNER}{FIRST[0]}" in tensors:
        found, rows = NETWORK, _torch_rows(_INNER, mobilenet_v1_names.LAST)
    else:
        return None
    return Published(found, len(last), rows, mobilenet_v1_names.is_weight, BUBBLIIIING)


def _openface(tensors: Tensors) -> Published | None:
    last = tensors.get(openface_names.LAST)
    if last is None or last.ndim != 2:
        return None
    rows, is_weight = openface_names.openface_rows(), openface_names.is_weight
    return Published(OPENFACE, len(last), rows, is_weight, openface_names.PREPROCESSING)


def _slim_rows(tensors: Tensors) -> list[Row]:
    rows = []
    for ours, slim, _ in _convolutions():
        of_kernel = [Row(f"params/{ours}/conv/kernel", (f"{slim}/weights",), same)]
        if (offset := f"{slim}/Conv2D_bn_offset") in tensors:
            rows += of_kernel + folded_norm(f"{ours}/norm", offset, EPSILON, has_scale=False)
        else:
            rows += scaleless_norm(f"{ours}/norm", _slim_norm(slim), EPSILON, of_kernel)
    for ours, slim, _ in _projections():
        rows += [
            Row(f"params/{ours}/kernel", (f"{slim}/weights",), same),
            Row(f"params/{ours}/bias", (f"{slim}/biases",), same),
        ]
    last = [Row("params/fc/kernel", (f"{SLIM}/Bottleneck/weights",), same)]
    return rows + scaleless_norm("embedding_norm", _slim_norm(f"{SLIM}/Bottleneck"), EPSILON, last)


def _slim_norm(scope: str) -> Norm:
    beta, mean, variance = (f"{scope}/BatchNorm/{name}" for name in ("beta", "moving_mean", "moving_variance"))
    return Norm(None, beta, mean, variance, EPSILON)


def _is_weight_of_slim(name: str) -> bool:
    """A graph's other constants are axes, shapes and factors."""
    endings = ("/weights", "/biases", "_bn_offset", "/beta", "/gamma", "/moving_mean", "/moving_variance")
    return name.startswith(f"{SLIM}/") and name.endswith(endings)


def _torch_rows(before: str = "", last_matrix: str = "last_linear.weight") -> list[Row]:
    """Rows of a state dict, `before` being what stands before all names but the head's."""
    rows = []
    for ours, _, torch in _convolutions():
        of_kernel = [Row(f"params/{ours}/conv/kernel", (f"{before}{torch}.conv.weight",), kernel)]
        rows += scaleless_norm(f"{ours}/norm", _torch_norm(f"{before}{torch}.bn"), EPSILON, of_kernel)
    for ours, _, torch in _projections():
        rows += [
            Row(f"params/{ours}/kernel", (f"{before}{torch}.weight",), kernel),
            Row(f"params/{ours}/bias", (f"{before}{torch}.bias",), same),
        ]
    last = [Row("params/fc/kernel", (last_matrix,), matrix)]
    return rows + scaleless_norm("embedding_norm", _torch_norm("last_bn"), EPSILON, last)


def _torch_norm(name: str) -> Norm:
    """Its scale, which the weights made from TensorFlow's have at 1, may have been trained since."""
    return Norm(f"{name}.weight", f"{name}.bias", f"{name}.running_mean", f"{name}.running_var", EPSILON)


def _is_weight_of_torch(name: str) -> bool:
    return not (name.startswith("logits.") or name.endswith("num_batches_tracked"))


def _convolutions() -> Iterator[Place]:
    """All that batch norm follows."""
    stem = zip(("1a", "2a", "2b", "3b", "4a", "4b"), (*STEM, *AFTER_POOL), strict=True)
    for name, conv in stem:
        yield Place(f"conv_{name}", conv_scope(name, conv), f"conv2d_{name}")
    for place, branches in _modules():
        for branch, convs in enumerate(branches):
            for number, conv in enumerate(convs):
                slim = f"{place.slim}/Branch_{branch}/Conv2d_{order(convs, number)}{_window(conv)}"
                torch = f"{place.torch}.branch{branch}" + (f".{number}" if len(convs) > 1 else "")
                yield Place(f"{place.ours}/branch{branch}_conv{number + 1}", slim, torch)


def _projections() -> Iterator[Place]:
    """What brings joined branches back to the input's channels."""
    for place, _ in _modules():
        if place.ours.startswith("block_"):
            yield Place(f"{place.ours}/projection", f"{place.slim}/Conv2d_1x1", f"{place.torch}.conv2d")


def _modules() -> Iterator[tuple[Place, Sequence[Branch]]]:
    groups = (
        (BLOCK_35, "block_35", "Repeat/block35", "repeat_1"),
        (BLOCK_17, "block_17", "Repeat_1/block17", "repeat_2"),
        (BLOCK_8, "block_8", "Repeat_2/block8", "repeat_3"),
    )
    for modules, ours, slim, torch in groups:
        for number in range(1, modules.number + 1):
            yield Place(f"{ours}_{number}", f"{SLIM}/{slim}_{number}", f"{torch}.{number - 1}"), modules.branches
    yield Place("block_8_last", f"{SLIM}/Block8", "block8"), BLOCK_8.branches
    yield Place("mixed_6a", f"{SLIM}/Mixed_6a", "mixed_6a"), MIXED_6A
    yield Place("mixed_7a", f"{SLIM}/Mixed_7a", "mixed_7a"), MIXED_7A


def conv_scope(name: str, conv: ConvSpec) -> str:
    """Slim's name of a convolution of the stem, such as "1a"."""
    return f"{SLIM}/Conv2d_{name}_{_window(conv)}"


def _window(conv: ConvSpec) -> str:
    return "x".join(map(str, conv.window))


def order(convs: Branch, number: int) -> str:
    """Slim's counting within a branch: 0a, 0b, 0c; 1a where the map is halved; nothing where there is only one."""
    if convs[number].stride == 2:
        return "1a_"
    return f"0{'abc'[number]}_" if len(convs) > 1 else ""
