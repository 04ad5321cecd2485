"""P-, R- and O-net and their published weights against NumPy networks that see transposed images, as the files want."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
import pytest

from faces import counts
from faces.errors import DataError
from mtcnn_jax.networks import Name, make_net, max_pool
from mtcnn_jax.weights import to_params

Arrays = dict[str, np.ndarray]
# For each network: the kernels' sides and channels, the pooling after each, the dense layer and the heads.
CONVS: dict[str, list[tuple[int, int, int]]] = {
    "p": [(3, 10, 2), (3, 16, 0), (3, 32, 0)],
    "r": [(3, 28, 3), (3, 48, 3), (2, 64, 0)],
    "o": [(3, 32, 3), (3, 64, 3), (3, 64, 2), (2, 128, 0)],
}
DENSE = {"r": ("conv4", 128), "o": ("conv5", 256)}
HEADS = {
    "p": [("conv4-1", 2), ("conv4-2", 4)],
    "r": [("conv5-1", 2), ("conv5-2", 4)],
    "o": [("conv6-1", 2), ("conv6-2", 4), ("conv6-3", 10)],
}
PRELU = {"p": "PReLU", "r": "prelu", "o": "prelu"}


def published(name: str, seed: int = 0) -> Arrays:
    """Random arrays under the names and with the shapes of det1.npy, det2.npy or det3.npy."""
    rng = np.random.default_rng(seed)
    arrays: Arrays = {}

    def layer(layer_name: str, shape: tuple[int, ...], scale: float = 1.0) -> None:
        spread = scale * np.sqrt(2 / np.prod(shape[:-1]))
        arrays[f"{layer_name}/weights"] = rng.normal(0, spread, shape).astype(np.float32)
        arrays[f"{layer_name}/biases"] = rng.normal(0, 0.1 * scale, shape[-1]).astype(np.float32)

    channels = 3
    for number, (side, features, _) in enumerate(CONVS[name], start=1):
        layer(f"conv{number}", (side, side, channels, features))
        arrays[f"{PRELU[name]}{number}/alpha"] = rng.uniform(-0.5, 0.5, features).astype(np.float32)
        channels = features
    if name in DENSE:
        dense, features = DENSE[name]
        layer(dense, (9 * channels, features))
        arrays[f"{PRELU[name]}{len(CONVS[name]) + 1}/alpha"] = rng.uniform(-0.5, 0.5, features).astype(np.float32)
        channels = features
    for head, features in HEADS[name]:
        layer(head, (1, 1, channels, features) if name == "p" else (channels, features), 0.2)
    return arrays


def run_published(name: str, arrays: Mapping[str, np.ndarray], images: np.ndarray) -> tuple[np.ndarray, ...]:
    """The published network on transposed images (n, columns, rows, 3): face probability and the other heads."""
    x = images.astype(np.float64)

    def prelu(x: np.ndarray, number: int) -> np.ndarray:
        return np.maximum(x, 0) + arrays[f"{PRELU[name]}{number}/alpha"] * np.minimum(x, 0)

    def windows(x: np.ndarray, side: int, stride: int) -> np.ndarray:
        views = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))
        return views[:, ::stride, ::stride]  # (n, columns, rows, channels, side, side)

    for number, (side, _, pool) in enumerate(CONVS[name], start=1):
        kernel, bias = arrays[f"conv{number}/weights"], arrays[f"conv{number}/biases"]
        x = prelu(np.einsum("nxycij,ijco->nxyo", windows(x, side, 1), kernel, optimize=True) + bias, number)
        if pool:
            over = [(0, (size - pool) % 2) for size in x.shape[1:3]]
            x = windows(np.pad(x, ((0, 0), *over, (0, 0)), constant_values=-np.inf), pool, 2).max(axis=(-2, -1))
    if name in DENSE:
        dense = DENSE[name][0]
        weights = arrays[f"{dense}/weights"]
        x = x.reshape(len(x), len(weights)) @ weights + arrays[f"{dense}/biases"]
        x = prelu(x, len(CONVS[name]) + 1)
    face, *others = (
        x @ arrays[f"{head}/weights"].reshape(-1, features) + arrays[f"{head}/biases"] for head, features in HEADS[name]
    )
    return 1 / (1 + np.exp(face[..., 0] - face[..., 1])), *others


def files() -> dict[str, Arrays]:
    return {"det2.npy": published("r"), "det3.npy": published("o"), "det1.npy": published("p")}


def torch_style(name: str, arrays: Arrays) -> Arrays:
    """The same under facenet-pytorch's names: kernels turned to the image's axes, dense layers not."""
    layers = {"conv4": "dense4"} if name == "r" else {"conv5": "dense5"} if name == "o" else {}
    layers |= {
        head: head.replace("-", "_").replace("conv", "conv" if name == "p" else "dense") for head, _ in HEADS[name]
    }
    renamed: Arrays = {}
    for key, array in arrays.items():
        layer, parameter = key.split("/")
        layer = layers.get(layer, layer).replace("PReLU", "prelu")
        if array.ndim == 4:
            array = array.transpose(3, 2, 1, 0)
        renamed[f"{layer}.{'bias' if parameter == 'biases' else 'weight'}"] = array.T if array.ndim == 2 else array
    return renamed


@pytest.mark.parametrize(("name", "parameters"), [("p", 6_632), ("r", 100_178), ("o", 389_040)])
def test_parameter_counts(name: Name, parameters: int):
    params = jax.eval_shape(make_net(name).init, jax.random.key(0))
    assert counts.parameters(params)[counts.TOTAL] == parameters


@pytest.mark.parametrize(("name", "shape"), [("p", (17, 22)), ("p", (14, 13)), ("r", (24, 24)), ("o", (48, 48))])
def test_networks_equal_published_ones(name: Name, shape: tuple[int, int]):
    images = np.random.default_rng(1).uniform(-1, 1, (2, *shape, 3)).astype(np.float32)
    params = to_params(files())[name]
    outputs = jax.jit(make_net(name).apply)(params, images)
    face, box, *ten = run_published(name, published(name), images.transpose(0, 2, 1, 3))
    if name == "p":
        face, box = face.transpose(0, 2, 1), box.transpose(0, 2, 1, 3)
    np.testing.assert_allclose(jax.nn.softmax(outputs.face)[..., 1], face, atol=1e-5)
    np.testing.assert_allclose(outputs.box, box, atol=1e-4)
    if ten:
        expected = np.stack([ten[0][:, :5], ten[0][:, 5:]], axis=-1)
        np.testing.assert_allclose(outputs.points, expected, atol=1e-4)
    else:
        assert outputs.points is None


def test_padding_of_p_net_has_no_influence():
    """Odd and even sides: the last pooling window reaches over the end of one of them."""
    params = to_params(files())["p"]
    padded = np.random.default_rng(2).uniform(-1, 1, (2, 30, 31, 3)).astype(np.float32)
    extents = np.array([[19, 22], [26, 15]], np.int32)
    outputs = jax.jit(make_net("p").apply)(params, padded, extents)
    for index, (rows, columns) in enumerate(extents):
        alone = padded[index : index + 1, :rows, :columns].transpose(0, 2, 1, 3)
        expected = run_published("p", published("p"), alone)[1][0].transpose(1, 0, 2)  # (rows, columns, 4)
        given = outputs.box[index, : expected.shape[0], : expected.shape[1]]
        np.testing.assert_allclose(given, expected, atol=1e-4)


@pytest.mark.parametrize(("window", "expected"), [(2, [1, 3, 4]), (3, [2, 4])])
def test_max_pool_reaches_over_the_edge(window: int, expected: Sequence[int]):
    x = np.arange(5, dtype=np.float32)
    along = max_pool(jax.numpy.asarray(x.reshape(1, 1, 5, 1).repeat(window, 1)), window)
    np.testing.assert_array_equal(along[0, 0, :, 0], expected)


def test_heads_for_points_as_in_the_paper():
    """P-net and R-net may have one for training; what was trained with it runs without."""
    net, images = make_net("p", points=True), np.ones((1, 12, 12, 3), np.float32)
    params = net.init(jax.random.key(0))
    with_points = jax.jit(net.apply)(params, images)
    assert with_points.points is not None and with_points.points.shape == (1, 1, 1, 5, 2)
    np.testing.assert_array_equal(jax.jit(make_net("p").apply)(params, images).box, with_points.box)
    assert np.std(params["conv3"]["kernel"]) == pytest.approx(np.sqrt(2 / (9 * 16)), rel=0.05)


def test_weights_under_the_names_of_facenet_pytorch():
    given = to_params({f"{name}net.pt": torch_style(name, published(name)) for name in CONVS})
    jax.tree.map(np.testing.assert_array_equal, given, to_params(files()))


def test_weights_that_do_not_fit():
    whole = files()
    cut = {key: array for key, array in whole["det2.npy"].items() if key != "prelu3/alpha"}
    with pytest.raises(DataError, match=r'det2.npy: "prelu3/alpha" is missing'):
        to_params(whole | {"det2.npy": cut})
    with pytest.raises(DataError, match=r'det2.npy: "conv9/biases" is no array of R-net'):
        to_params(whole | {"det2.npy": whole["det2.npy"] | {"conv9/biases": np.zeros(3)}})
    with pytest.raises(DataError, match=r'det2.npy: "conv3/weights" of shape \(3, 3\)'):
        to_params(whole | {"det2.npy": whole["det2.npy"] | {"conv3/weights": np.zeros((3, 3))}})
    with pytest.raises(DataError, match=r"other.npy: no network of MTCNN"):
        to_params(whole | {"other.npy": {"w": np.zeros(3)}})
    with pytest.raises(DataError, match=r"again.npy: a second P-net"):
        to_params(whole | {"again.npy": whole["det1.npy"]})
    with pytest.raises(DataError, match=r"det1.npy, det2.npy: O-net is missing"):
        to_params({"det1.npy": whole["det1.npy"], "det2.npy": whole["det2.npy"]})
