"""Steps that are not finite: nothing changes, they are counted with what they saw, and too many in a row end a run."""

import dataclasses
import io
import json
import os
import signal
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

import arcface_jax
import facenet_jax
import tests.arcface_jax.setting
import tests.facenet_jax.setting
from arcface_jax.monitor import AngleMonitor
from facenet_jax.monitor import TripletMonitor
from faces.backbone import Backbone
from faces.batch_sheet import CAPTION, GAP, batch_sheet
from faces.checkpoint import Checkpoints
from faces.checkpoint_match import check_same, to_json
from faces.config import AugmentConfig
from faces.data.loader import make_loader
from faces.data.source import ArraySource
from faces.errors import ConfigError, DataError, TrainingStopped
from faces.mesh import make_mesh, place_batch
from faces.not_finite import MOST_IN_A_ROW, NotFinite
from faces.run_record import NOT_FINITE, read_log
from faces.toml_config import to_toml
from faces.train_loop import Trained, train

PEOPLE, EACH, STEPS = 11, 8, 12
PLAIN = AugmentConfig(flip=False, shift=0.0, zoom=0.0, rotate=0.0, colour=0.0, jpeg_quality=0)
COURSE = {"train__steps": STEPS, "train__log_every": 1, "train__checkpoint_every": 5, "train__most_not_finite": 3}
IDENTITIES = np.repeat(np.arange(PEOPLE, dtype=np.int32), EACH)
NAMES = tuple(f"person {label}" for label in range(PEOPLE))
PAPERS = ("facenet", "arcface")
PACKAGES: dict[str, Any] = {"facenet": facenet_jax, "arcface": arcface_jax}
SETTINGS: dict[str, Any] = {"facenet": tests.facenet_jax.setting, "arcface": tests.arcface_jax.setting}
MONITORS: dict[str, Any] = {"facenet": TripletMonitor, "arcface": AngleMonitor}


def config_of(paper: str, **changes: Any) -> Any:
    batch = {"batch__images": 16, "batch__images_per_identity": 4} if paper == "facenet" else {}
    return SETTINGS[paper].config(**COURSE, **batch).with_(augment=PLAIN, **changes)


def broken_by_white(backbone: Backbone) -> Backbone:
    """A network whose embedding of an image without a dark pixel is NaN."""

    def apply(params: Any, stats: Any, images: Any, train: bool, key: Any = None) -> Any:
        embeddings, stats = backbone.apply(params, stats, images, train, key)
        is_white = jnp.min(images, axis=(1, 2, 3)) > 0.9
        return jnp.where(is_white[:, None], jnp.nan, 1.0) * embeddings, stats

    return backbone._replace(apply=apply)


def backbone_of(paper: str) -> Backbone:
    of = SETTINGS[paper].linear() if paper == "arcface" else SETTINGS[paper].without_batch_norm()
    return broken_by_white(of)


def order_of(epoch: int) -> np.ndarray:
    """Five batches of 16, people of several images in each."""
    return np.random.default_rng((7, epoch)).permutation(len(IDENTITIES))[:80].reshape(5, 16)


def faces_of(white: list[int], size: tuple[int, int]) -> ArraySource:
    """Random images, those at some places white."""
    images = np.random.default_rng(0).integers(0, 256, (len(IDENTITIES), *size, 3)).astype(np.uint8)
    images[white] = 255
    return ArraySource("made", images, IDENTITIES, names=NAMES)


def seen_at(step: int) -> np.ndarray:
    epoch, row = divmod(step - 1, 5)
    return order_of(epoch)[row]


def white_at(*steps: int) -> list[int]:
    """The first image of each of some steps."""
    return [int(seen_at(step)[0]) for step in steps]


def broken_steps(white: list[int]) -> list[int]:
    return [step for step in range(1, STEPS + 1) if np.isin(seen_at(step), white).any()]


def setting(paper: str, white: list[int], devices: int = 1, **changes: Any) -> tuple[Any, ...]:
    """Config, mesh, loader, first state and a function that makes the step."""
    config, mesh = config_of(paper, **changes), make_mesh(devices)
    faces = faces_of(white, config.model.input_size)
    loader = make_loader(faces, order_of, STEPS, config.model.input_size, config.augment, 0)
    state = PACKAGES[paper].init_state(config, mesh, backbone_of(paper), **classes_of(paper))
    return config, mesh, loader, state, partial(step_of, paper, devices)


def classes_of(paper: str) -> dict[str, int]:
    return {"classes": PEOPLE} if paper == "arcface" else {}


@cache
def step_of(paper: str, devices: int, by_layer: bool = False) -> Any:
    """Compiled once: nothing that these tests change in the config is the step's."""
    classes, mesh = classes_of(paper), make_mesh(devices)
    return PACKAGES[paper].make_train_step(config_of(paper), mesh, backbone_of(paper), by_layer=by_layer, **classes)


def run(
    folder: Path | None, paper: str, white: list[int], devices: int = 1, until: int = STEPS, **changes: Any
) -> Trained:
    """Train, going on from what is in the folder; Ctrl-C comes within step `until`."""
    config, mesh, loader, state, make_step = setting(paper, white, devices, **changes)
    step, console, monitor = make_step(), Console(file=io.StringIO()), MONITORS[paper](config)

    def interrupted(state: Any, batch: Any) -> Any:
        if int(state.step) + 1 == until < STEPS:
            os.kill(os.getpid(), signal.SIGINT)
        return step(state, batch)

    by_layer = partial(make_step, by_layer=True)
    if folder is None:
        return train(interrupted, state, loader, config, mesh, None, None, lambda state: {}, monitor, console, by_layer)
    with Checkpoints(folder / "checkpoints") as kept:
        if kept.latest_step() is not None:
            state, place = kept.restore(state, config, PEOPLE)
            loader.set_state(place)
        return train(
            interrupted, state, loader, config, mesh, folder, kept, lambda state: {}, monitor, console, by_layer
        )


def assert_equal(one: Any, other: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


def weights(state: Any) -> Any:
    return jax.device_get((state.params, state.batch_stats, state.centres, state.opt_state))


@pytest.mark.parametrize("paper", PAPERS)
def test_training_goes_on_as_if_such_a_step_had_not_been(tmp_path: Path, paper: str):
    """Bit for bit: but for its number, which the schedule and random choices go by."""
    white = white_at(3, 8)
    broken = broken_steps(white)
    assert {3, 8} <= set(broken) and len(broken) < STEPS
    trained = run(tmp_path, paper, white, train__most_not_finite=99)
    _, mesh, loader, state, make_step = setting(paper, white)
    step = make_step()
    for number, batch in enumerate(loader, start=1):
        if number in broken:
            state = dataclasses.replace(state, step=state.step + 1)
        else:
            state, _ = step(state, place_batch(mesh, batch))
    assert_equal(weights(trained.state), weights(state))
    assert int(trained.state.step) == STEPS and trained.not_finite == len(broken)
    rows = [json.loads(line) for line in (tmp_path / NOT_FINITE).read_text().splitlines()]
    assert [row["step"] for row in rows] == broken
    for row in rows:
        assert row["indices"] == seen_at(row["step"]).tolist()
        assert row["people"] == [NAMES[IDENTITIES[index]] for index in row["indices"]]
        assert "nan" in (row["loss"], row["gradient_norm"])


@pytest.mark.parametrize("paper", PAPERS)
def test_one_device_and_eight_agree(tmp_path: Path, paper: str):
    white = white_at(2, 9)
    one, eight = (run(tmp_path / str(n), paper, white, n, train__most_not_finite=99) for n in (1, 8))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), one.state.params, eight.state.params)
    of_one, of_eight = (read_log(tmp_path / str(n) / NOT_FINITE, ("indices", "people")) for n in (1, 8))
    assert [row["step"] for row in of_one] == broken_steps(white)
    assert [(row["step"], row["indices"]) for row in of_one] == [(row["step"], row["indices"]) for row in of_eight]


@pytest.mark.parametrize("until", [1, 4, 5])
def test_a_run_that_is_resumed_goes_on_counting(tmp_path: Path, until: int):
    white, changes = white_at(4, 9), {"train__most_not_finite": 99}
    whole = run(tmp_path / "whole", "facenet", white, **changes)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", "facenet", white, until=until, **changes)
    resumed = run(tmp_path / "parts", "facenet", white, **changes)
    assert_equal(weights(resumed.state), weights(whole.state))
    assert resumed.not_finite == whole.not_finite == len(broken_steps(white)) > 1
    assert (tmp_path / "parts" / NOT_FINITE).read_text() == (tmp_path / "whole" / NOT_FINITE).read_text()


def test_a_run_without_such_a_step_has_no_record_and_one_without_a_folder_counts(tmp_path: Path):
    assert run(tmp_path, "arcface", []).not_finite == 0
    assert not (tmp_path / NOT_FINITE).exists()
    assert run(None, "arcface", white_at(3), train__most_not_finite=99).not_finite == len(broken_steps(white_at(3)))


def white_for(first: int, last: int) -> list[int]:
    """One image of each of these steps, none of which the steps before show."""
    before = np.concatenate([[-1], *(seen_at(step) for step in range(1, first))])
    return [int(np.setdiff1d(seen_at(step), before)[0]) for step in range(first, last + 1)]


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize(("most", "devices"), [(1, 1), (2, 8), (3, 1)])
def test_too_many_in_a_row_end_the_run_with_a_report(tmp_path: Path, paper: str, most: int, devices: int):
    white, last = white_for(2, 4), 1 + most
    assert broken_steps(white)[:3] == [2, 3, 4]
    with pytest.raises(TrainingStopped) as stopped:
        run(tmp_path, paper, white, devices, train__most_not_finite=most)
    sentence, folder = str(stopped.value), tmp_path / "not_finite"
    assert f"step {last}: loss " in sentence and "is not finite" in sentence and str(folder) in sentence
    assert "optimiser.learning_rate (now 0.1)" in sentence and "optimiser.clip_norm" in sentence
    assert "float32" in sentence
    assert f"number {most} of such steps in a row (most_not_finite = {most})" in sentence
    assert [row["step"] for row in read_log(tmp_path / NOT_FINITE)] == list(range(2, last + 1))

    # The state is that after step 1, and no step after the last has been taken.
    config, mesh, loader, state, make_step = setting(paper, white, devices)
    like = jax.tree.map(jnp.copy, state)
    state, _ = make_step()(state, place_batch(mesh, next(loader)))
    with Checkpoints(tmp_path / "checkpoints") as kept:
        left, place = kept.restore(like, config, PEOPLE)
    assert int(left.step) == last
    assert_equal(weights(left), weights(state))
    again = setting(paper, white, devices)[2]
    again.set_state(place)
    np.testing.assert_array_equal(next(again)["identities"], IDENTITIES[seen_at(last + 1)])

    report = (folder / "report.txt").read_text().splitlines()
    assert report[0] + f" See {folder}: a report, and what the batch showed." == sentence
    rows = [line.split() for line in report if line.strip()]
    values = {row[1]: row[0] for row in rows if len(row) > 1}
    layers = ["first", "second"] if paper == "facenet" else ["fc", "centres"]
    assert {values[name] for name in layers} <= {"nan", "inf"} and "loss" in values
    assert (f"all {len(layers)} layers") in sentence
    assert values["learning_rate"] == "0.1"
    indices = seen_at(last).tolist()
    assert [row for row in rows if row[1:2] == ["person"] and len(row) == 3] == [
        [str(index), *NAMES[IDENTITIES[index]].split()] for index in indices
    ]
    sheet = cv2.imread(str(folder / "batch.png"))
    assert sheet is not None and sheet.shape[0] > 4 * CAPTION and (folder / "batch.png").stat().st_mode & 0o77 == 0


def test_steps_that_are_finite_in_between_start_the_row_again(tmp_path: Path):
    white = white_at(2, 3, 5)
    assert broken_steps(white)[:3] == [2, 3, 5]
    longest = max(len(part) for part in "".join("x" if n in broken_steps(white) else " " for n in range(1, 13)).split())
    assert run(tmp_path, "arcface", white, train__most_not_finite=longest + 1).not_finite == len(broken_steps(white))


def test_a_row_is_counted_over_an_interruption(tmp_path: Path):
    white, changes = white_for(2, 4), {"train__most_not_finite": 3}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "facenet", white, until=3, **changes)
    with pytest.raises(TrainingStopped, match="step 4: "):
        run(tmp_path, "facenet", white, **changes)


def test_fit_says_which_layers_and_promises_no_report(tmp_path: Path):
    config = config_of("arcface", train__most_not_finite=1, batch__images=PEOPLE * EACH)
    faces = faces_of([0], config.model.input_size)
    with pytest.raises(TrainingStopped, match="all 2 layers") as stopped:
        arcface_jax.fit(faces, config, make_mesh(1), backbone=backbone_of("arcface"), quiet=True)
    assert "report" not in str(stopped.value)


@pytest.mark.parametrize("paper", PAPERS)
def test_a_run_of_before_has_no_such_key_and_goes_on(tmp_path: Path, paper: str):
    config = config_of(paper, train__most_not_finite=4)
    (tmp_path / "config.toml").write_text(to_toml(config).replace("most_not_finite = 4\n", ""))
    before = type(config).load(str(tmp_path / "config.toml"))
    assert before.train.most_not_finite is None and MOST_IN_A_ROW == 10
    check_same(to_json(before), to_json(config), tmp_path)
    with pytest.raises(ConfigError, match=r"train\.most_not_finite = 0: a number of at least 1"):
        config.with_(train__most_not_finite=0)


def test_a_damaged_record_is_refused_and_a_line_that_a_crash_has_cut_is_not(tmp_path: Path):
    record = tmp_path / NOT_FINITE
    record.write_text('{"step": 2, "loss": "nan"}\n{"step": 3, "lo')
    counted = NotFinite(tmp_path, 3, 5, None)
    assert (counted.count, counted.in_a_row) == (1, 0) and record.read_text() == '{"step": 2, "loss": "nan"}\n'
    record.write_text('{"step": 2, "lo\n{"step": 3}\n')
    with pytest.raises(DataError, match="line 1: is damaged"):
        NotFinite(tmp_path, 3, 5, None)


@pytest.mark.parametrize(
    ("count", "shape"), [(1, (40, 40)), (7, (30, 20)), (90, (8, 8)), (600, (8, 8)), (2100, (4, 6))]
)
def test_a_sheet_shows_all_images_of_a_batch_and_their_places(count: int, shape: tuple[int, int]):
    images = np.zeros((count, *shape, 3), np.uint8)
    images[:] = np.arange(count)[:, None, None, None] % 200
    sheet = batch_sheet(images, np.arange(count) + 10_000_000 - count)
    is_image = (sheet != 255).all(axis=2)
    side = 224 if count < 16 else 144 if count < 64 else 72 if count < 512 else 56 if count < 2048 else 48
    assert is_image.sum() >= count * side * round(side * min(shape) / max(shape))
    assert sheet.shape[0] >= side + CAPTION + 2 * GAP and max(sheet.shape) < 8000
