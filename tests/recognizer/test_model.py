"""Models open alike from a file, from what was converted, and from a run; files that are none are refused."""

import dataclasses
import hashlib
import resource
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import arcface_jax.models
import arcface_jax.models.published as of_arcface
from arcface_jax.models.iresnet import IResNet
from experiments import convert as command
from faces import room
from faces.backbone import Network
from faces.errors import CheckpointError, ConfigError, OutputError, WeightsError
from faces.mesh import make_mesh
from faces.preprocessing import WHOLE
from recognizer import convert as convert_module
from recognizer import model as model_module
from recognizer.model import (
    Description,
    Model,
    NetworkConfig,
    Origin,
    convert,
    embedder_of,
    open_model,
    preprocessing_of,
    write_model,
)
from recognizer.pipeline import taken_whole
from tests.arcface_jax import published_networks as theirs
from tests.arcface_jax import setting as setting_of_run
from tests.experiments import setting
from tests.recognizer.manifest_maker import model_entry, write_manifest
from tests.recognizer.test_runs import arcface_run as arcface_run

UNITS, WIDTHS, SIZE, DIM = (1, 1, 1, 1), (2, 3, 4, 5), (16, 16), 6
TENSORS = theirs.iresnet_tensors(UNITS, WIDTHS, 1, DIM)


def know_iresnet4(patch: pytest.MonkeyPatch) -> None:
    network = Network(partial(IResNet, units=UNITS, widths=WIDTHS), SIZE)
    patch.setitem(arcface_jax.models.NETWORKS, "iresnet4", network)
    patch.setattr(of_arcface, "IRESNETS", {**of_arcface.IRESNETS, "iresnet4": UNITS})
    patch.setattr(of_arcface, "PREPROCESSING", dataclasses.replace(of_arcface.PREPROCESSING, size=SIZE))


@pytest.fixture(autouse=True)
def iresnet4(monkeypatch: pytest.MonkeyPatch) -> None:
    """An IResNet of a unit in each stage, known by its names like the others."""
    know_iresnet4(monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "backbone \u00e9.npz"
    np.savez(path, **{f"module.{name}": tensor for name, tensor in TENSORS.items()})
    return path


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a converted model."""
    folder = tmp_path_factory.mktemp("converted")
    np.savez(folder / "a.npz", **TENSORS)
    with pytest.MonkeyPatch.context() as patch:
        know_iresnet4(patch)
        write_model(convert(folder / "a.npz"), folder / "model")
    return folder / "model"


def assert_equal(model: Model, other: Model) -> None:
    assert model.description == other.description
    jax.tree.map(np.testing.assert_array_equal, (model.params, model.batch_stats), (other.params, other.batch_stats))


def test_a_file_and_what_was_converted_of_it_are_one_model(file: Path, tmp_path: Path):
    folder = tmp_path / "models" / "r4"
    lines = setting.run(command.main, [str(file), "--to", str(folder)])
    assert lines[0].startswith("iresnet4, 6 dimensions, ")
    assert lines[1] == "takes 16x16 rgb, (x - 127.5) / 127.5, aligned by five_points, flip: sum"
    opened, in_memory = open_model(folder), open_model(file)
    assert_equal(opened, in_memory)
    assert opened.name == "iresnet4" and opened.description.network.embedding_dim == DIM
    assert opened.description.origin.file == "backbone \\xe9.npz"
    assert opened.description.origin.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert [path.name for path in folder.parent.iterdir()] == ["r4"]  # nothing temporary is left
    seen = images(2).astype(np.float32) / 127.5 - 1
    given = jax.jit(opened.apply, static_argnums=3)(opened.params, opened.batch_stats, seen, False)[0]
    np.testing.assert_allclose(given, theirs.iresnet(seen, UNITS, TENSORS), rtol=1e-4, atol=1e-4)


def test_a_disk_that_refuses_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    """Of many arrays that are written at a time, too large for a file, and for a disk."""
    params = {str(at): np.random.default_rng(at).random(16384, np.float32) for at in range(40)}
    model = dataclasses.replace(first_pixel(), params=params)
    write_model(first_pixel(), tmp_path / "model")
    before = sorted(tmp_path.rglob("*"))
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (49152, most[1]))
    try:
        with pytest.raises(OutputError, match="model: cannot be written, the disk is full"):
            write_model(model, tmp_path / "model", overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert sorted(tmp_path.rglob("*")) == before
    assert "Event loop" not in capsys.readouterr().err
    monkeypatch.setattr(room, "free", lambda folder: 2**20)
    with pytest.raises(OutputError, match=r"model: the weights need 2\.\d MiB, and 1\.0 MiB are free; make room\."):
        write_model(model, tmp_path / "model", overwrite=True)
    assert sorted(tmp_path.rglob("*")) == before


def images(number: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, *SIZE, 3)).astype(np.uint8)


def first_pixel(**changes: Any) -> Model:
    """A model whose embedding is the first pixel that its network sees."""
    preprocessing = dataclasses.replace(of_arcface.PREPROCESSING, size=SIZE, mean=100.0, scale=50.0, **changes)
    description = Description(NetworkConfig("first_pixel", 3), preprocessing, Origin("nowhere", ""))

    def apply(params: Any, batch_stats: Any, seen: jax.Array, train: bool, key: Any = None) -> tuple[jax.Array, Any]:
        return seen[:, 0, 0], batch_stats

    return Model(description, {}, {}, apply)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("flip", ["none", "sum", "concatenate"])
def test_the_embedder_does_what_is_stored(channels: str, flip: str):
    embed = embedder_of(first_pixel(channels=channels, flip=flip), make_mesh(2))
    pictures = images(3)
    seen = (pictures[:, 0, [0, -1]].astype(np.float64) - 100) / 50  # (3, 2, 3): the first pixel and its mirror image
    seen = seen[..., ::-1] if channels == "bgr" else seen
    if flip == "concatenate":
        expected = np.concatenate([unit(seen[:, 0]), unit(seen[:, 1])], axis=1) / np.sqrt(2)
    else:
        expected = unit(seen.sum(axis=1) if flip == "sum" else seen[:, 0])
    np.testing.assert_allclose(embed(pictures), expected, rtol=1e-5, atol=1e-6)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_the_embedder_refuses_other_pictures():
    with pytest.raises(ConfigError, match=r"pictures of 16x15x3 in uint8 were given"):
        embedder_of(first_pixel(), make_mesh(2))(images(3)[:, :, 1:])


def test_a_run_is_a_model(arcface_run: tuple[Path, Any]):
    folder, state = arcface_run
    model = open_model(folder)
    config = setting_of_run.config(train__seed=5)
    assert (model.name, model.description.network.embedding_dim) == (config.model.name, config.model.embedding_dim)
    assert model.preprocessing == preprocessing_of(config)
    assert model.preprocessing.box == config.evaluation.crop and model.preprocessing.alignment == "fixed_box"
    assert (model.preprocessing.mean, model.preprocessing.scale) == (config.data.mean, config.data.scale)
    assert model.preprocessing.flip == ("sum" if config.evaluation.flip else "none")
    assert all(holds for holds, _ in model.preprocessing.rules())
    assert model.description.origin.file == "run, step 6"
    jax.tree.map(np.testing.assert_array_equal, model.params, jax.tree.map(lambda x: x + 6, state.params))


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"conv1.weight": np.zeros((2, 3, 5, 5), np.float32)}, [], "'conv1.weight' is of shape (2, 3, 5, 5), which "),
        ({"bn9.weight": np.zeros(2, np.float32)}, [], "'bn9.weight', of shape (2,), has no place in iresnet4"),
        ({"layer4.0.bn1.weight": None}, [], "'layer4.0.bn1.weight' is missing, which iresnet4 needs"),
        ({"layer4.1.bn1.weight": np.zeros(5, np.float32)}, [], "an IResNet of 1, 1, 1, 2 units in its stages"),
        ({"fc.bias": None}, [], "none of the networks whose names are known here; its 96 tensors begin with 'conv1.w"),
        ({"fc.bias": np.zeros(0, np.float32)}, [], "network.embedding_dim = 0: a number of at least 1"),
        ({}, ["--network", "iresnet18"], "'layer1.1.bn1.weight' is missing, which iresnet18 needs"),
        ({}, ["--network", "mobilefacenet_y1"], "not mobilefacenet_y1; its 97 tensors begin with"),
        ({}, ["--network", "vgg"], "no published weights of 'vgg' are known here, only those of inception_resnet_v1, "),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict, options: list[str], words: str, tmp_path: Path, capsys: Any):
    tensors = {name: tensor for name, tensor in (TENSORS | changes).items() if tensor is not None}
    path, folder = tmp_path / "a.npz", tmp_path / "converted"
    np.savez(path, **tensors)
    setting.refused(command.main, capsys, [str(path), "--to", str(folder), *options], str(path), words)
    assert not folder.exists()


def test_names_behind_others(file: Path, tmp_path: Path):
    """PyTorch's DataParallel and compiler, and modules around the network, put names before all names."""
    np.savez(tmp_path / "wrapped.npz", **{f"module._orig_mod.backbone.{name}": one for name, one in TENSORS.items()})
    model, other = convert(tmp_path / "wrapped.npz"), convert(file)
    jax.tree.map(np.testing.assert_array_equal, model.params, other.params)


def test_a_graph_for_weights_that_have_none(file: Path, tmp_path: Path):
    nodes = '[{"op": "null", "name": "data", "inputs": []}]'
    (tmp_path / "graph.json").write_text(f'{{"nodes": {nodes}, "arg_nodes": [0], "heads": [[0, 0, 0]]}}')
    with pytest.raises(ConfigError, match=r"symbol \S+graph.json changes nothing: .* is of iresnet4, not MXNet's"):
        convert(file, symbol=tmp_path / "graph.json")


def test_nothing_is_overwritten(file: Path, tmp_path: Path, capsys: Any):
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    absent = str(tmp_path / "none.npz")  # the place is looked at first
    for place in (folder, folder / "notes.txt", folder / "notes.txt" / "below", Path("/proc/x")):
        for more in ([], ["--overwrite"]):
            setting.refused(command.main, capsys, [absent, "--to", str(place), *more], str(place), "name a")
    with pytest.raises(OutputError, match="no results of these commands"):
        write_model(first_pixel(), folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    write_model(first_pixel(), tmp_path / "model")
    with pytest.raises(OutputError, match="replace them with --overwrite"):
        write_model(first_pixel(), tmp_path / "model")
    write_model(first_pixel(), tmp_path / "model", overwrite=True)
    assert (tmp_path / "model" / "model.toml").is_file()


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(model_module, "write_text", fail)
    with pytest.raises(OutputError, match="disk full"):
        write_model(dataclasses.replace(first_pixel(), params={"w": np.ones(2)}), tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "error", "words"),
    [
        ("embedding_dim = 6", "embedding_dim = 7", CheckpointError, "not those of iresnet4 with 7 dimensions"),
        ("size = [16, 16]", "size = [48, 48]", CheckpointError, r"on \(48, 48\) pixels, which model.toml says"),
        ("scale = 127.5", "scale = 0.0", ConfigError, r"model\.toml: preprocessing\.scale = 0\.0: a number above 0"),
        ('flip = "sum"', 'flip = "som"', ConfigError, r"model\.toml: preprocessing\.flip = 'som'; did you mean 'sum'"),
        ("margin = 0.0\n", "", ConfigError, r"model\.toml: key 'preprocessing\.margin' is missing"),
        ('name = "iresnet4"', 'name = "iresnet44"', ConfigError, r'no network "iresnet44"; the nearest is "iresnet4"'),
    ],
)
def test_a_description_that_was_changed_is_refused(
    old: str, new: str, error: type[Exception], words: str, converted: Path, tmp_path: Path
):
    folder = tmp_path / "changed"
    shutil.copytree(converted, folder)
    text = (folder / "model.toml").read_text()
    assert old in text
    (folder / "model.toml").write_text(text.replace(old, new))
    with pytest.raises(error, match=words):
        open_model(folder)


def test_a_threshold_is_optional_and_may_be_known_by_the_hash(converted: Path, tmp_path: Path):
    folder, model = tmp_path / "model", open_model(converted)
    assert model.threshold is None and "verification" not in (converted / "model.toml").read_text()
    entry = model_entry(model.preprocessing, **{"verification.threshold": 0.3, "verification.how": ""})
    known = write_manifest(tmp_path / "known.toml", {"r4": entry}, {"r4": converted.parent / "a.npz"})
    assert open_model(converted, manifest=known).threshold == 0.3  # converted before it was known
    write_model(open_model(converted, manifest=known), folder)
    text = (folder / "model.toml").read_text()
    assert "[verification]\nthreshold = 0.3\n" in text and open_model(folder).threshold == 0.3
    (folder / "model.toml").write_text(text.replace("threshold = 0.3", "threshold = 0.4"))
    assert open_model(folder).threshold == 0.4
    (folder / "model.toml").write_text(text.replace("threshold = 0.3", "threshold = 1.5"))
    with pytest.raises(ConfigError, match=r"model\.toml: verification\.threshold = 1\.5: a number of at least -1"):
        open_model(folder)


def test_paths_that_are_no_model(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"nowhere: nothing lies there; a file of weights, or the folder of"):
        open_model(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no run lies there"):
        open_model(tmp_path)
    (tmp_path / "a.pth").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"a\.pth: "):
        open_model(tmp_path / "a.pth")


@pytest.mark.realdata
def test_mobilefacenet_y1_and_its_symbol(faces_data: Path, tmp_path: Path):
    folder = faces_data.parent / "weights" / "mobilefacenet_y1"
    if not folder.is_dir():
        pytest.skip(f"needs the published weights of MobileFaceNet y1 in {folder}")
    weights, symbol = folder / "model-0000.params", folder / "model-symbol.json"
    changed = tmp_path / "model-symbol.json"
    changed.write_text(symbol.read_text().replace('"127.5"', '"100.0"'))
    assert convert(weights, symbol=changed).preprocessing.mean == 100.0
    beside = tmp_path / "model-0000.params"
    beside.symlink_to(weights)
    changed.write_text("[]")
    with pytest.raises(WeightsError, match=r"^\S+model-symbol\.json: "):
        open_model(beside)


@pytest.mark.parametrize(
    ("mean", "factor", "expected"), [(127.5, 1 / 128, (127.5, 128.0)), (0.5, 2.0, (127.5, 127.5))]
)
def test_what_a_graph_does_to_pixels_is_the_preprocessing(mean, factor, expected):
    usual = of_arcface.PREPROCESSING
    seen = convert_module._seen_by(usual, mean, factor, Path("a.onnx"))
    assert (seen.mean, seen.scale) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("mean", "factor"), [(-2.0, 1.0), (-510.0, 1 / 255), (0.0, 1 / 255), (300.0, 0.01), (0.0, 1.0)]
)
def test_a_range_of_pixels_that_is_not_about_0_is_refused(mean, factor):
    with pytest.raises(WeightsError, match=r"a\.onnx: its graph begins with .* export the network without it"):
        convert_module._seen_by(of_arcface.PREPROCESSING, mean, factor, Path("a.onnx"))


def test_faces_that_are_cut_out_are_taken_whole_with_bars_where_the_network_knows_bars():
    by_box = dataclasses.replace(of_arcface.PREPROCESSING, alignment="box_margin", margin=32.0, resized=182)
    whole = dataclasses.replace(of_arcface.PREPROCESSING, alignment="fixed_box", margin=0.0, resized=0, box=WHOLE)
    assert taken_whole(by_box) == whole
    boxed = dataclasses.replace(whole, alignment="letterbox")
    assert taken_whole(boxed) == boxed
