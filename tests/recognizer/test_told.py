"""What a person says of a file's pixels: it is stored with the weights, and refused where the file says otherwise."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import facenet_jax.models.published as of_facenet
from arcface_jax.config import Config
from experiments import convert as command
from experiments import evaluate, export
from experiments.common import pipeline
from faces.errors import ConfigError
from faces.mesh import make_mesh
from faces.terminal import make_console
from faces.weights.layouts import Published
from recognizer import Recognizer, open_model, starting
from recognizer import convert as convert_module
from recognizer.model import convert, embedder_of, write_model
from recognizer.told import Told, heard
from tests.arcface_jax import published_networks as theirs
from tests.experiments.setting import refused, run
from tests.recognizer.manifest_maker import make_package, model_entry, write_manifest
from tests.recognizer.test_model import SIZE, TENSORS, UNITS, images, know_iresnet4

MEAN, SCALE = (100.0, 110.0, 120.0), (50.0, 60.0, 70.5)
OTHER = Told("bgr", MEAN, SCALE)
SAID = ["--channels", "bgr", "--mean", "100", "110", "120", "--scale", "50", "60", "70.5"]


@pytest.fixture(autouse=True)
def iresnet4(monkeypatch: pytest.MonkeyPatch) -> None:
    know_iresnet4(monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.savez(tmp_path / "backbone.npz", **TENSORS)  # pyright: ignore[reportArgumentType]
    return tmp_path / "backbone.npz"


def test_embeddings_are_those_of_pixels_made_by_hand(file: Path):
    pictures = images(3)
    seen = (pictures[..., ::-1].astype(np.float64) - MEAN) / SCALE  # blue first, each channel by its own numbers
    summed = sum(theirs.iresnet(each, UNITS, TENSORS) for each in (seen, seen[:, :, ::-1]))
    expected = summed / np.linalg.norm(summed, axis=1, keepdims=True)
    model = open_model(file, told=OTHER)
    np.testing.assert_allclose(embedder_of(model, make_mesh(1))(pictures), expected, atol=2e-5)
    usual = embedder_of(open_model(file), make_mesh(1))(pictures)
    assert np.abs(usual - expected).max() > 1e-2


@pytest.mark.parametrize("mean, scale", [(127.5, 128), (np.float32(90), [1, 2, 3]), ((1, 2, 3), 64.0)])
def test_one_number_or_three(file: Path, mean: Any, scale: Any):
    pictures = images(2)
    seen = (pictures.astype(np.float64) - np.array(mean)) / np.array(scale)
    model = convert(file, told=Told(mean=mean, scale=scale))
    flat = dataclasses.replace(model.preprocessing, flip="none")
    model = dataclasses.replace(model, description=dataclasses.replace(model.description, preprocessing=flat))
    embeddings = theirs.iresnet(seen, UNITS, TENSORS)
    expected = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder_of(model, make_mesh(1))(pictures), expected, atol=2e-5)


def test_what_was_said_is_stored_and_need_not_be_said_again(file: Path, tmp_path: Path):
    printed = run(command.main, [str(file), *SAID, "--to", str(tmp_path / "model")])
    assert printed[1] == "takes 16x16 bgr, (x - 100 110 120) / 50 60 70.5, aligned by five_points, flip: sum"
    stored = open_model(tmp_path / "model").description
    assert stored == open_model(file, told=OTHER).description
    seen = stored.preprocessing
    assert (seen.channels, seen.mean, seen.scale) == ("bgr", MEAN, SCALE)
    for weights in ([str(file), *SAID], [str(tmp_path / "model")], [str(tmp_path / "model"), *SAID]):
        options = evaluate.parse(["--data", "a=b", "--out", "c", "--weights", *weights, "--detector", "none"])
        assert pipeline.open_for(options, make_console(quiet=True)).description == stored
    opened = Recognizer.open(file, channels="bgr", mean=MEAN, scale=list(SCALE))
    assert opened.model.description == stored


def test_a_folder_says_itself_what_it_holds(file: Path, tmp_path: Path):
    write_model(convert(file, told=OTHER), tmp_path / "model")
    with pytest.raises(ConfigError, match=r"stored with channels bgr, and rgb is asked for; .*: convert the file"):
        open_model(tmp_path / "model", told=Told("rgb", insist=True))
    with pytest.raises(ConfigError, match=r"stored with mean 100 110 120, and 127.5 is asked"):
        open_model(tmp_path / "model", told=Told(mean=127.5))


def known(file: Path, tmp_path: Path, by_hash: bool, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list of names that knows the file by its hash, or by the package that it lies in alone."""
    package = make_package(tmp_path / "site", "brings_r4", monkeypatch)
    (package / "weights.npz").write_bytes(file.read_bytes())
    thresholds = {"verification.threshold": 0.4, "verification.how": ""}
    entry = model_entry(convert(file).preprocessing, package="brings_r4", **thresholds)
    return write_manifest(tmp_path / "names.toml", {"r4": entry}, {"r4": file} if by_hash else {})


@pytest.mark.parametrize("by_hash", [True, False])
def test_a_known_model_is_not_taken_otherwise_unless_one_insists(
    file: Path, tmp_path: Path, by_hash: bool, monkeypatch: pytest.MonkeyPatch
):
    names = known(file, tmp_path, by_hash, monkeypatch)
    for told in (Told("bgr"), Told(mean=0), Told(scale=1), Told(size=(15, 16))):
        with pytest.raises(ConfigError, match=r"known, and the list of models says that its \w+ is .* insist on it"):
            open_model("r4", manifest=names, told=told)
    usual = open_model("r4", manifest=names)
    assert usual.threshold == (0.4 if by_hash else None)
    assert open_model("r4", manifest=names, told=Told("rgb", 127.5, 127.5, SIZE)).description == usual.description
    insisted = open_model("r4", manifest=names, told=Told("bgr", insist=True))
    assert insisted.preprocessing.channels == "bgr" and insisted.threshold is None  # the cosine was not chosen so
    write_model(insisted, tmp_path / "model")
    assert open_model(tmp_path / "model", manifest=names).description == insisted.description


def test_what_a_graph_does_to_pixels_is_not_said_otherwise(file: Path, monkeypatch: pytest.MonkeyPatch):
    read = convert_module._tensors_by_known_names
    monkeypatch.setattr(
        convert_module, "_tensors_by_known_names", lambda file, key: (*read(file, key)[:2], (100.0, 1 / 64))
    )
    with pytest.raises(ConfigError, match=r"backbone.npz: its graph says that its scale is 64, and 128 is asked for"):
        convert(file, told=Told(scale=128))
    assert convert(file, told=Told("bgr", 100, 64)).preprocessing.channels == "bgr"  # of which the graph says nothing
    assert convert(file, told=Told(scale=128, insist=True)).preprocessing.scale == 128


def test_sizes_that_the_weights_can_take(file: Path):
    assert convert(file, told=Told(size=(15, 16))).preprocessing.size == (15, 16)  # four halvings leave one place
    with pytest.raises(ConfigError, match=r"size 32x16 is none of these weights, .* images of 16x16; leave it out"):
        convert(file, told=Told(size=(32, 16)))


def test_a_network_of_any_size_shows_the_same_part_of_the_photograph_at_each():
    seen = heard(of_facenet.PREPROCESSING, Told(size=80), {}, "a.pb")
    assert (seen.size, seen.resized, seen.margin) == ((80, 80), 91, 44.0)
    published = Published(of_facenet.NETWORK, 512, [], bool, of_facenet.PREPROCESSING)
    with pytest.raises(ConfigError, match=r"^a.pb: size 40x40 is too small for inception_resnet_v1; 160x160 is usual"):
        convert_module._at_size(published, dataclasses.replace(seen, size=(40, 40)), Path("a.pb"))


@pytest.mark.parametrize(
    "said, words",
    [
        ({"channels": "grb"}, "channels 'grb': rgb or bgr is expected"),
        ({"mean": (1.0, 2.0)}, "mean .1.0, 2.0.: a number is expected, or three"),
        ({"mean": float("nan")}, "mean nan: a number is expected"),
        ({"scale": 0}, "scale 0: divides the pixels, and must be positive"),
        ({"scale": (1, 1, -2)}, "scale -2: divides the pixels, and must be positive"),
        ({"scale": 0.0078125}, "scale 0.0078125: divides pixels of 0 to 255.* one over, 128, .* mean and scale times"),
        ({"size": (0, 112)}, "size .0, 112.: rows and columns are expected, whole numbers from 1 to 2,048"),
        ({"size": 112.5}, "size 112.5: rows and columns"),
        ({"size": "112"}, "size 112: rows and columns"),
        ({"size": (1, 2, 3)}, "size .1, 2, 3.: rows and columns"),
        ({"insist": True}, "to insist changes nothing"),
    ],
)
def test_values_that_no_network_takes(said: dict[str, Any], words: str):
    with pytest.raises(ConfigError, match=words):
        Told(**said)


def test_commands_refuse_them_before_they_look_at_anything(tmp_path: Path, capsys: Any):
    of_evaluate = ["--weights", "none", "--data", f"a={tmp_path}", "--out", str(tmp_path / "out"), "--scale", "0.5"]
    refused(evaluate.main, capsys, of_evaluate, "scale 0.5: divides")
    for main, place in ((command.main, "--to"), (export.main, "--to")):
        words = [place, str(tmp_path / "to"), "--mean", "1", "2"]
        refused(main, capsys, ["none", *words], "a number is expected, or three")
        assert not (tmp_path / "to").exists()


def test_training_takes_one_range_for_all_channels(file: Path, tmp_path: Path):
    write_model(convert(file, told=Told(mean=MEAN)), tmp_path / "model")
    with pytest.raises(ConfigError, match=r"a mean of 100 110 120 and a scale of 127.5, training gives all by one"):
        starting.network_of(tmp_path / "model", Config.load("arcface/small"))
