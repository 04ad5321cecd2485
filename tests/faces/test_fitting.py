"""`fit` of both papers: the mains' loop and nothing else, on arrays, folders and sources; and what it refuses."""

from functools import cache
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
import pytest

import arcface_jax
import facenet_jax
import tests.arcface_jax.setting
import tests.facenet_jax.setting
from faces.data.augment import crop
from faces.data.loader import make_loader
from faces.data.source import ArraySource
from faces.errors import ConfigError, DataError, OutputError
from faces.mesh import make_mesh, place_batch
from faces.run_record import LOGS, read_log
from recognizer.model import open_model
from recognizer.runs import open_run

STEPS, PEOPLE, EACH = 3, 8, 6
COURSE = {"train__steps": STEPS, "train__log_every": 2}
FACENET = tests.facenet_jax.setting.config(batch__images=16, batch__images_per_identity=4, **COURSE)
ARCFACE = tests.arcface_jax.setting.config(**COURSE)
BACKBONES = {"facenet": tests.facenet_jax.setting.without_batch_norm(), "arcface": tests.arcface_jax.setting.linear()}
CONFIGS: dict[str, Any] = {"facenet": FACENET, "arcface": ARCFACE}
PACKAGES: dict[str, Any] = {"facenet": facenet_jax, "arcface": arcface_jax}
PAPERS = sorted(PACKAGES)

IMAGES = np.random.default_rng(0).integers(0, 256, (PEOPLE * EACH, 20, 20, 3)).astype(np.uint8)
IDENTITIES = np.repeat(np.arange(PEOPLE, dtype=np.int32), EACH)
LABELS = 7 * IDENTITIES.astype(np.int64) - 20  # neither from 0 nor consecutive


def fit(paper: str, source: Any = (IMAGES, LABELS), **changed: Any) -> Any:
    given = {"config": CONFIGS[paper], "mesh": make_mesh(1), "backbone": BACKBONES[paper], "quiet": True, **changed}
    return PACKAGES[paper].fit(source, **given)


@cache
def plain(paper: str) -> Any:
    """Trained on the arrays, on one device; tests share it."""
    return fit(paper)


def assert_equal(fitted: Any, params: Any, centres: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, (fitted.params, fitted.centres), (params, centres))


@pytest.mark.parametrize("paper", PAPERS)
def test_fit_is_the_loop_by_hand(paper: str):
    config, backbone, mesh, package = CONFIGS[paper], BACKBONES[paper], make_mesh(1), PACKAGES[paper]

    def order(epoch: int) -> np.ndarray:
        batch, negatives = config.batch, [config.batch.random_negatives] if paper == "facenet" else []
        return package.epoch_order(IDENTITIES, batch.images, batch.images_per_identity, *negatives, 0, epoch)

    faces = ArraySource("by hand", IMAGES, IDENTITIES)
    loader = make_loader(faces, order, STEPS, config.model.input_size, config.augment, seed=0)
    state = package.init_state(config, mesh, backbone, PEOPLE)
    step = package.make_train_step(config, mesh, backbone, *([PEOPLE] if paper == "arcface" else []))
    losses = []
    for batch in loader:
        state, metrics = step(state, place_batch(mesh, batch))
        losses.append(float(metrics["loss"]))
    fitted = plain(paper)
    assert_equal(fitted, state.params, state.centres[:PEOPLE] if paper == "arcface" else {})
    assert [(row["step"], row["loss"]) for row in fitted.history] == [*enumerate(losses, start=1)]
    assert fitted.people == [str(label) for label in np.unique(LABELS)]


@pytest.mark.parametrize("paper", PAPERS)
def test_one_device_and_eight_agree(paper: str):
    one, eight = plain(paper), fit(paper, mesh=None)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), one.params, eight.params)
    np.testing.assert_allclose(one.embed(IMAGES), eight.embed(IMAGES), atol=1e-5)


@pytest.mark.parametrize("paper", PAPERS)
def test_embeddings_have_length_1_and_see_what_training_saw(paper: str):
    fitted = plain(paper)
    embeddings = fitted.embed(IMAGES[:5])
    assert embeddings.dtype == np.float32 and embeddings.shape == (5, CONFIGS[paper].model.embedding_dim)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    cut = np.stack([crop(image, CONFIGS[paper].model.input_size) for image in IMAGES[:5]])
    np.testing.assert_array_equal(fitted.embed(cut), embeddings)
    with pytest.raises(DataError, match="uint8"):
        fitted.embed(IMAGES[0])


@pytest.mark.parametrize("paper", PAPERS)
def test_a_folder_of_people_and_a_source_are_as_good_as_arrays(paper: str, tmp_path: Path):
    for row, (image, person) in enumerate(zip(IMAGES, IDENTITIES, strict=True)):
        place = tmp_path / f"person_{person}" / f"{row:03}.png"
        place.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(place), image[:, :, ::-1])
    expected, of_folder = plain(paper), fit(paper, tmp_path)
    assert_equal(of_folder, expected.params, expected.centres)
    assert of_folder.people[0] == "person_0"
    assert_equal(fit(paper, ArraySource("these", IMAGES, IDENTITIES)), expected.params, expected.centres)


@pytest.mark.parametrize("paper", PAPERS)
def test_nothing_is_written_or_printed(paper: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fit(paper)
    assert not list(tmp_path.iterdir()) and capsys.readouterr() == ("", "")


def test_a_folder_is_that_of_a_run(tmp_path: Path, one_matrix: list[str]):
    size, d = (16, 16), 8
    config = ARCFACE.with_(model__name=one_matrix[1], model__input_size=size, model__embedding_dim=d)
    kept = fit("arcface", config=config, backbone=None, folder=tmp_path / "run")
    run = open_run(tmp_path / "run")
    assert (run.trained_as, run.config, run.step) == ("arcface", config, STEPS)
    jax.tree.map(np.testing.assert_array_equal, (run.params, run.centres[:PEOPLE]), (kept.params, kept.centres))
    assert read_log(tmp_path / "run" / LOGS[0]) == kept.history
    opened = open_model(tmp_path / "run")
    assert opened.preprocessing.size == size
    with pytest.raises(OutputError, match="holds results already"):
        fit("arcface", config=config, backbone=None, folder=tmp_path / "run")
    with pytest.raises(ConfigError, match="folder: a run is opened by the network that its config names"):
        fit("arcface", folder=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_name_is_a_config_and_a_config_of_the_other_paper_is_none():
    with pytest.raises(DataError, match=r"lower batch\.images"):  # it was read: its batches hold 128
        facenet_jax.fit((IMAGES, LABELS), "facenet/tiny")
    assert facenet_jax.Config.load("facenet/tiny").batch.images == 128
    for config in (ARCFACE, "arcface/tiny"):
        with pytest.raises(ConfigError):
            facenet_jax.fit((IMAGES, LABELS), config)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ((IMAGES.astype(np.float32), LABELS), "images: uint8 .*, RGB, all of one size, are expected, and float32"),
        ((IMAGES[..., 0], LABELS), "images: uint8"),
        ((IMAGES[:0], LABELS[:0]), "images: uint8"),
        (([IMAGES[0], IMAGES[1, 1:]], LABELS[:2]), "images: uint8 .* and a list of several sizes given"),
        (ArraySource("theirs", IMAGES, IDENTITIES - 1), r"theirs: identities must lie in 0 \.\. 6"),
        ((IMAGES, LABELS[1:]), r"labels: one for each of 48 images is expected, and \(47,\)"),
        ((IMAGES, LABELS[:, None]), "labels: one for each"),
        ((IMAGES, LABELS.astype(np.float32)), "labels: whole numbers are expected, and float32"),
        ((IMAGES, np.zeros_like(LABELS)), "shows 1 person"),
        ((IMAGES[:12], LABELS[:12]), r"lower batch\.images"),
        ((IMAGES,), "two arrays"),
        (IMAGES, "ndarray given"),
        ("nowhere", "nowhere: no such file or folder"),
    ],
)
@pytest.mark.parametrize("paper", PAPERS)
def test_what_cannot_be_trained_on_is_refused(paper: str, source: Any, sentence: str):
    with pytest.raises(DataError, match=sentence):
        fit(paper, source)


@pytest.mark.parametrize("paper", PAPERS)
def test_a_batch_that_the_devices_cannot_share_is_refused(paper: str):
    with pytest.raises(ConfigError, match=r"batch\.images = 16: cannot be divided among 3 devices"):
        fit(paper, mesh=make_mesh(3))
    mesh = jax.make_mesh((1,), ("people",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])
    with pytest.raises(ConfigError, match="one axis, 'data', is expected"):
        fit(paper, mesh=mesh)


def test_what_is_passed_over_at_a_path_is_said(tmp_path: Path, capsys):
    for row in range(6):
        place = tmp_path / f"person_{row % 2}" / f"{row}.png"
        place.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(place), IMAGES[row])
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"lower batch\.images"):
        fit("arcface", tmp_path, quiet=False)
    assert "1 passed over, the first: notes.txt" in capsys.readouterr().out
