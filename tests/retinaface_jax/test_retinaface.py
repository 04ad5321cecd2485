"""RetinaFace equals a float64 oracle that knows no padding: network, anchors, decoding, names of published weights."""

from functools import partial

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faces.data.images import decode_image
from faces.errors import ConfigError, WeightsError
from faces.weights import read_weights
from recognizer.detectors import open_detector
from retinaface_jax import Options, make_detector, network
from retinaface_jax.anchors import first_pixels, make_anchors
from retinaface_jax.bodies import ResNet
from retinaface_jax.decode import find_faces
from retinaface_jax.network import Outputs, RetinaFace, make_network
from retinaface_jax.weights import from_pytorch, pytorch_name
from tests.retinaface_jax import oracle


def test_images_of_several_sizes_in_one_batch_equal_each_alone():
    tensors = oracle.random_tensors(0)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((64, 128), (45, 70), (33, 97))]
    # With these settings every anchor inside the image comes out.
    detect = make_detector(from_pytorch(tensors), Options(confidence=0.0, overlap=1.0))
    for image, found in zip(images, detect(images), strict=True):
        boxes, points, scores = oracle.decode(oracle.forward(tensors, image), *image.shape[:2])
        order = np.argsort(-scores, kind="stable")
        assert len(found) == len(order) and np.ptp(scores) > 0.3
        np.testing.assert_allclose(found.scores, scores[order], atol=1e-5)
        np.testing.assert_allclose(found.boxes, boxes[order], rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(found.points, points[order], rtol=1e-4, atol=1e-3)
        assert (found.boxes.dtype, found.points.shape) == (np.float32, (len(order), 5, 2))


def test_anchors():
    anchors, first = make_anchors(640, 640), first_pixels(640, 640)
    assert anchors.shape == (16800, 4) and anchors.dtype == np.float32
    fine = [[4, 4, 16, 16], [4, 4, 32, 32], [12, 4, 16, 16], [4, 12, 16, 16]]
    np.testing.assert_array_equal(anchors[[0, 1, 2, 160]], fine)
    coarse = [[8, 8, 64, 64], [16, 16, 256, 256], [624, 624, 512, 512]]
    np.testing.assert_array_equal(anchors[[12800, 16000, 16799]], coarse)
    # An image padded from 45x70 keeps the anchors that it has by itself.
    own = (first_pixels(64, 128) < np.array([[45, 70]])).all(axis=1)
    np.testing.assert_array_equal(make_anchors(64, 128)[own], make_anchors(45, 70))
    np.testing.assert_array_equal(first[[0, 2, 160, 16799]], [[0, 0], [0, 8], [8, 0], [608, 608]])


@pytest.mark.parametrize("top_k", [30, 5000])
def test_faces_of_random_outputs_equal_loops(top_k):
    anchors = make_anchors(64, 96)
    rng = np.random.default_rng(1)
    outputs = Outputs(*(rng.normal(size=(len(anchors), n)).astype(np.float32) for n in (2, 4, 10)))
    inside = rng.random(len(anchors)) < 0.7
    find = partial(find_faces, confidence=0.4, overlap=0.3, top_k=top_k, keep=12)
    found = jax.jit(find)(outputs, jnp.array(anchors), jnp.array(inside))
    boxes, points, scores = oracle.decode(outputs, 64, 96)
    rows = [row for row in np.argsort(-scores) if inside[row] and scores[row] > 0.4][:top_k]
    rows = [rows[kept] for kept in oracle.suppress(boxes[rows], scores[rows], 0.3, pixel=1.0)]
    assert len(rows) > 12 or top_k == 30
    expected, n = rows[:12], min(len(rows), 12)
    np.testing.assert_allclose(found.boxes[:n], boxes[expected], atol=1e-3)
    np.testing.assert_allclose(found.points[:n], points[expected], atol=1e-3)
    np.testing.assert_allclose(found.scores, np.pad(scores[expected], (0, 12 - n)), atol=1e-6)


def test_published_names():
    tensors = oracle.random_tensors(1)
    weights = from_pytorch({f"module.{name}": tensor for name, tensor in tensors.items()})
    assert weights.network == "mobilenet0.25"
    assert sum(leaf.size for leaf in jax.tree.leaves(weights.params)) == 426_608
    kernel = weights.params["body"]["stage2_0"]["pointwise"]["kernel"]  # (1, 1, channels, features)
    np.testing.assert_array_equal(kernel[0, 0, 5, 9], tensors["body.stage2.0.3.weight"][9, 5, 0, 0])
    names = {
        ("layer3_5", "downsample", "norm", "var"): "layer3.5.downsample.1.running_var",
        ("layer1_0", "conv2", "kernel"): "layer1.0.conv2.weight",
        ("bn1", "scale"): "bn1.weight",
        ("bn1", "mean"): "bn1.running_mean",
    }
    assert [pytorch_name(("body", *path)) for path in names] == [f"body.{name}" for name in names.values()]
    assert pytorch_name(("ssh2", "conv7x7_3", "norm", "bias")) == "ssh2.conv7x7_3.1.bias"
    assert pytorch_name(("points_head3", "bias")) == "LandmarkHead.2.conv1x1.bias"


def test_resnet50_has_the_published_number_of_parameters():
    params, _ = jax.eval_shape(make_network("resnet50").init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 27_293_600


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("fpn.merge1.1.bias"), 'there is no "fpn.merge1.1.bias" in them'),
        (lambda t: t.update({"ssh1.conv3X3.0.weight": np.ones((3, 3))}), r"is \(3, 3\), and RetinaFace mobilenet0.25"),
        (lambda t: t.update({"body.stage9.weight": np.ones(3)}), 'for 1 of the weights, such as "body.stage9.weight"'),
    ],
    ids=["missing", "other shape", "unknown"],
)
def test_other_weights_are_refused(change, message):
    tensors = oracle.random_tensors(2)
    change(tensors)
    with pytest.raises(WeightsError, match=message):
        from_pytorch(tensors)


def test_a_small_resnet_body_equals_the_oracle_in_padding_and_without(monkeypatch):
    body = partial(ResNet, (1, 1, 1, 1), 4)
    monkeypatch.setitem(network.BODIES, "small", partial(RetinaFace, body, features=8, slope=0.0))
    small = make_network("small")
    params, batch_stats = small.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    batch_stats = jax.tree.map(lambda leaf: rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32), batch_stats)
    tensors = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path((params, batch_stats)):
        tensor = np.asarray(leaf)
        name = pytorch_name(tuple(key.key for key in path[1:]))
        tensors[name] = tensor.transpose(3, 2, 0, 1) if tensor.ndim == 4 else tensor
    image = rng.normal(size=(1, 45, 70, 3)).astype(np.float32)
    expected = oracle.resnet_forward(tensors, image[0].transpose(2, 0, 1).astype(np.float64), slope=0)
    apply = jax.jit(lambda image, sizes: small.apply(params, batch_stats, image, False, sizes)[0])
    for found, values in zip(apply(image, None), expected, strict=True):
        np.testing.assert_allclose(found[0], values, atol=1e-4)
    padded = np.pad(image, ((0, 0), (0, 19), (0, 26), (0, 0)), constant_values=9.0)
    own = (first_pixels(64, 96) < np.array([[45, 70]])).all(axis=1)
    for found, values in zip(apply(padded, jnp.array([[45, 70]])), expected, strict=True):
        np.testing.assert_allclose(np.asarray(found)[0, own], values, atol=1e-4)


def test_unusable_options_are_refused():
    for options, message in (
        ({"confidence": 1.0}, "confidence 1.0"),
        ({"overlap": -0.1}, "overlap -0.1"),
        ({"keep": 0}, "keep 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            Options(**options)
    with pytest.raises(ConfigError, match='no RetinaFace body "vgg"'):
        make_network("vgg")


@pytest.fixture(scope="module")
def published(faces_data):
    """The file of the published weights."""
    file = faces_data.parent / "weights" / "retinaface_mnet025" / "mobilenet0.25_Final.pth"
    if not file.exists():
        pytest.skip(f"needs RetinaFace's published weights as {file}")
    return file


@pytest.mark.realdata
def test_a_face_that_fills_a_picture_of_any_size_is_found_and_nothing_else(faces_data, published):
    photograph = decode_image((faces_data / "photos" / "person_25" / "1.jpg").read_bytes(), "1.jpg")
    detect = open_detector("retinaface", published)
    (seen,) = detect([photograph])
    left, top, right, bottom = seen.boxes[0]
    side = (bottom - top) / 0.85
    corner = np.round([(left + right - side) / 2, (top + bottom - side) / 2]).astype(int)
    close = photograph[corner[1] : corner[1] + round(side), corner[0] : corner[0] + round(side)]
    for rows in (500, 1000):
        enlarged = cv2.resize(close, (rows, rows), interpolation=cv2.INTER_CUBIC)
        (found,) = detect([enlarged])
        assert len(found) == 1 and found.scores[0] > 0.9
        points = (seen.points[0] - corner + 0.5) * rows / len(close) - 0.5
        assert np.linalg.norm(found.points[0] - points, axis=1).max() < 0.06 * rows


@pytest.mark.realdata
def test_small_faces_of_a_large_picture_are_found(faces_data, published):
    detect = open_detector("retinaface", published)
    files = sorted((faces_data / "lfw").rglob("*_0001.jpg"))[::300][:12]
    picture, places = np.full((1000, 1300, 3), 110, np.uint8), []
    for number, file in enumerate(files):
        crop = decode_image(file.read_bytes(), file.name)[50:200, 50:200]
        side = (60, 90, 150)[number % 3]
        y, x = 60 + number // 4 * 320, 60 + number % 4 * 310
        picture[y : y + side, x : x + side] = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
        places.append((x + side / 2, y + side / 2))
    (found,) = detect([picture])
    centres = (found.boxes[:, None, :2] + found.boxes[:, None, 2:]) / 2  # (faces, 1, 2)
    near = np.linalg.norm(centres - np.array(places)[None], axis=2) < 30
    assert near.any(axis=0).all() and len(found) <= 15  # some of the pictures show others in the background


@pytest.mark.realdata
def test_published_weights_on_photographs(faces_data, published):
    tensors = read_weights(published)
    photographs = sorted((faces_data / "lfw").rglob("*_0001.jpg"))[::2000]
    images = [decode_image(file.read_bytes(), file.name) for file in photographs]
    images.append(images[0][7:200, 11:240])
    for image, found in zip(images, make_detector(from_pytorch(tensors))(images), strict=True):
        boxes, points, scores = oracle.decode(oracle.forward(tensors, image), *image.shape[:2])
        rows = np.flatnonzero(scores > 0.5)
        rows = rows[oracle.suppress(boxes[rows], scores[rows], 0.4, pixel=1.0)]
        assert len(found) == len(rows) > 0
        np.testing.assert_allclose(found.scores, scores[rows], atol=1e-4)
        np.testing.assert_allclose(found.boxes, boxes[rows], atol=0.01)
        np.testing.assert_allclose(found.points, points[rows], atol=0.01)
