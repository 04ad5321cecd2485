"""A detector's file is used when its record, its hash or a person says what it is, and refused otherwise."""

import json

import jax
import numpy as np
import pytest

from faces.detect.looks import Sizes
from faces.errors import ConfigError, WeightsError
from mtcnn_jax.networks import make_net
from mtcnn_jax.weights import to_facenet_pytorch
from recognizer import detectors as published
from recognizer.detector_identity import NETWORKS, RECORD, make_record
from recognizer.detectors import open_detector
from tests.recognizer.manifest_maker import detector_entry, write_manifest
from tests.retinaface_jax.oracle import random_tensors

NAME = "retinaface_mobilenet025"


@pytest.fixture
def opened(monkeypatch):
    """The sizes and the longest side with which detectors are opened."""
    seen = []
    monkeypatch.setattr(published, "of_any_size", lambda detect, sizes: seen.append(sizes) or detect)
    monkeypatch.setattr(published, "in_smaller_images", lambda detect, longest: seen.append(longest) or detect)
    return seen


def test_another_network_under_the_same_names_is_refused_until_told(tmp_path, opened):
    file = tmp_path / "mobilenet0.25_Final.pth"
    with file.open("wb") as stream:
        np.savez(stream, **random_tensors(0))
    with pytest.raises(WeightsError) as error:
        open_detector("retinaface", file)
    assert str(error.value) == (
        f"{file}: is no file that is known by its hash, and other networks have the same names and shapes; if it takes "
        "LeakyReLU with 0.1, anchors of 16, 32, 64, 128, 256, 512 pixels, blue, green and red minus 104, 117, 123, say "
        'so with --detector-network retinaface_mobilenet025 (detector_network="retinaface_mobilenet025" in a program).'
    )
    assert callable(open_detector("retinaface", file, network=NAME)) and opened == [Sizes(16, 512)]
    with pytest.raises(ConfigError, match=f"fit {NAME}; retinaface_resnet50, which they are said to be"):
        open_detector("retinaface", file, network="retinaface_resnet50")
    with pytest.raises(ConfigError, match='no detector network "retina": one of retinaface_mobilenet025, '):
        open_detector("retinaface", file, network="retina")


def test_a_known_file_needs_no_word(tmp_path, opened):
    file = tmp_path / "renamed.npz"
    np.savez(file, **random_tensors(0))
    entries = {NAME: detector_entry(detector="retinaface", network=NAME)}
    known = write_manifest(tmp_path / "known.toml", entries, {NAME: file})
    assert callable(open_detector("retinaface", file, manifest=known)) and opened == [Sizes(16, 512)]


def test_what_is_trained_here_says_what_it_is_and_how_large_its_faces_are(tmp_path, opened):
    file = tmp_path / "retinaface.npz"
    np.savez(file, **random_tensors(0), **make_record(NAME, Sizes(20, 107, 128)))
    open_detector("retinaface", file)
    open_detector("retinaface", file, longest_side=300)
    assert opened == [Sizes(20, 107, 128), 128, Sizes(20, 107, 128), 300]


def test_mtcnn_keeps_to_the_narrowest_of_its_records(tmp_path, opened):
    params = {name: jax.device_get(make_net(name).init(jax.random.key(3))) for name in ("p", "r", "o")}
    for (net, arrays), sizes in zip(
        to_facenet_pytorch(params).items(), (Sizes(24, 900), Sizes(20, 800), Sizes(12, 1000, 128)), strict=True
    ):
        np.savez(tmp_path / f"{net}.npz", **arrays, **make_record("mtcnn", sizes))
    open_detector("mtcnn", tmp_path)
    assert opened == [Sizes(24, 800, 128), 128]
    np.savez(tmp_path / "rnet.npz", **to_facenet_pytorch(params)["rnet"])
    with pytest.raises(WeightsError, match=r"rnet\.npz: is no file that is known .* --detector-network mtcnn \("):
        open_detector("mtcnn", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("network"), "damaged"),
        (lambda content: content["sizes"].update(smallest="x"), "damaged"),
        (lambda content: content["sizes"].update(smallest=0), "make no sense"),
        (lambda content: content["sizes"].update(largest=1e999), "make no sense"),
        (lambda content: content["sees"].update(slope=0.0), "not known here"),
        (lambda content: content.update(network="retinaface_vgg"), "not known here"),
        (lambda content: content.update(network="mtcnn", sees=NETWORKS["mtcnn"].sees), "says that it is of mtcnn"),
    ],
)
def test_a_record_of_something_else_is_refused(tmp_path, change, message):
    content = json.loads(make_record(NAME, Sizes(20, 100))[RECORD].tobytes())
    change(content)
    file = tmp_path / "retinaface.npz"
    np.savez(file, **random_tensors(0), **{RECORD: np.frombuffer(json.dumps(content).encode(), np.uint8)})
    with pytest.raises(WeightsError, match=message):
        open_detector("retinaface", file, network=NAME)


@pytest.mark.realdata
def test_published_files_are_known(faces_data):
    folder = faces_data.parent / "weights"
    if not (folder / "mtcnn").is_dir():
        pytest.skip("needs published weights in the folder weights/ beside FACES_DATA")
    assert callable(open_detector("retinaface", folder / "retinaface_mnet025" / "mobilenet0.25_Final.pth"))
    assert callable(open_detector("mtcnn", folder / "mtcnn"))
