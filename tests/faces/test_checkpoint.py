"""Weights out of a checkpoint without the state they were saved from."""

import dataclasses
import logging
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from faces import checkpoint_folder as files
from faces import checksums, room
from faces.checkpoint import Checkpoints
from faces.checkpoint_folder import load_weights
from faces.checkpoint_match import to_json
from faces.errors import CheckpointError, OutputError
from faces.keep import Keep
from faces.mesh import make_mesh, replicated, sharded
from faces.train_state import TrainState
from tests.faces.configs import tiny


def state(seed: int, batch_stats: Any, has_centres: bool, devices: int = 4, rows: int = 8) -> TrainState:
    """Parameters copied to the devices, centres divided among them."""
    rng, mesh = np.random.default_rng(seed), make_mesh(devices)
    params = {"conv": {"kernel": rng.normal(size=(3, 2)).astype(np.float32)}, "bias": np.float32(rng.normal())}
    centres = rng.normal(size=(rows, 5)).astype(np.float32) if has_centres else {}
    step, key = jnp.int32(seed), jax.random.key(seed)
    params, batch_stats, step, key = jax.device_put((params, batch_stats, step, key), replicated(mesh))
    centres = jax.device_put(centres, sharded(mesh))
    return TrainState(step, params, batch_stats, centres, {"momentum": params, "centres": {"trace": centres}}, key)


def save(folder: Path, *states: TrainState) -> None:
    with Checkpoints(folder) as checkpoints:
        for one in states:
            checkpoints.save(one, {"place": int(one.step)}, tiny())


@pytest.mark.parametrize("has_centres", [True, False])
@pytest.mark.parametrize("batch_stats", [{}, {"norm": {"mean": np.arange(3.0, dtype=np.float32)}}])
def test_the_newest_weights_as_numpy_arrays(tmp_path: Path, batch_stats: Any, has_centres: bool):
    states = [state(seed, batch_stats, has_centres) for seed in (3, 5)]
    save(tmp_path, *states)
    step, weights = load_weights(tmp_path)
    assert step == 5 and set(weights) == {"params", "batch_stats", "centres"}
    expected = {key: getattr(states[1], key) for key in weights}
    assert jax.tree.structure(weights) == jax.tree.structure(expected)
    for given, wanted in zip(jax.tree.leaves(weights), jax.tree.leaves(expected), strict=True):
        assert isinstance(given, np.ndarray) and given.dtype == np.float32
        np.testing.assert_array_equal(given, wanted)


def test_looking_at_weights_leaves_the_run_as_it_was(tmp_path: Path):
    one = state(3, {}, True)
    save(tmp_path, one)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    load_weights(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    with Checkpoints(tmp_path) as checkpoints:
        restored, place = checkpoints.restore(one, tiny())
    jax.tree.map(np.testing.assert_array_equal, restored.params, one.params)
    assert place == {"place": 3}


def test_where_there_is_none(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"none: no checkpoint there"):
        load_weights(tmp_path / "none")
    with pytest.raises(CheckpointError, match=rf"{tmp_path.name}: no checkpoint there"):
        load_weights(tmp_path)


@pytest.mark.parametrize(("devices", "rows"), [(3, 9), (1, 6), (2, 12), (4, 8)])
def test_padding_of_centres_follows_the_devices(tmp_path: Path, devices: int, rows: int):
    """Six classes in eight rows of four devices, restored in other rows: the classes' own, and zeros."""
    stored, like = state(3, {}, True), state(4, {}, True, devices, rows)
    save(tmp_path, stored)
    with Checkpoints(tmp_path) as checkpoints:
        restored, _ = checkpoints.restore(like, tiny(), classes=6)
    for given, wanted in (
        (restored.centres, like.centres),
        (restored.opt_state["centres"]["trace"], like.opt_state["centres"]["trace"]),
    ):
        assert given.shape == wanted.shape and given.sharding == wanted.sharding
        np.testing.assert_array_equal(given[:6], stored.centres[:6])
        if rows != 8:
            assert not given[6:].any()
    jax.tree.map(np.testing.assert_array_equal, restored.params, stored.params)


def test_what_a_loss_keeps_is_restored_and_its_rows_follow_the_devices(tmp_path: Path):
    mesh, few = make_mesh(4), make_mesh(3)
    rows = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    kept = {"centres": jax.device_put(rows, sharded(mesh)), "t": jax.device_put(jnp.float32(0.5), replicated(mesh))}
    like = {"centres": jax.device_put(jnp.zeros((9, 5)), sharded(few)), "t": kept["t"]}
    save(tmp_path, dataclasses.replace(state(3, {}, True), loss_state=kept))
    with Checkpoints(tmp_path) as checkpoints:
        restored, _ = checkpoints.restore(dataclasses.replace(state(4, {}, True, 3, 9), loss_state=like), tiny(), 6)
    np.testing.assert_array_equal(restored.loss_state["centres"], np.concatenate([rows[:6], np.zeros((3, 5))]))
    assert restored.loss_state["centres"].sharding == like["centres"].sharding
    assert float(restored.loss_state["t"]) == 0.5


def test_a_checkpoint_of_before_losses_kept_anything(tmp_path: Path):
    """The state of an earlier version had no such part; a loss that needs one cannot go on from it."""

    @jax.tree_util.register_dataclass
    @dataclasses.dataclass(frozen=True)
    class Earlier:
        step: Any
        params: Any
        batch_stats: Any
        centres: Any
        opt_state: Any
        key: Any

    one = state(3, {}, True)
    parts = {part.name: getattr(one, part.name) for part in dataclasses.fields(Earlier)}
    save(tmp_path, Earlier(**parts))  # pyright: ignore[reportArgumentType]
    with Checkpoints(tmp_path) as checkpoints:
        restored, _ = checkpoints.restore(one, tiny())
    assert isinstance(restored, TrainState) and restored.loss_state == {}
    jax.tree.map(np.testing.assert_array_equal, (restored.params, restored.centres), (one.params, one.centres))
    needs = dataclasses.replace(one, loss_state={"t": jnp.float32(0)})
    words = "has no loss_state/t, which this run needs"
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match=words):
        checkpoints.restore(needs, tiny())


@pytest.mark.parametrize(
    ("change", "classes", "words"),
    [
        ({"centres": np.zeros((9, 5))}, 0, r"centres has the shape \(8, 5\), and in this run \(9, 5\)"),
        ({"centres": np.zeros((9, 5))}, 9, r"centres has the shape \(8, 5\)"),  # a class more than there are rows
        ({"centres": np.zeros((8, 4))}, 6, r"centres has the shape \(8, 5\), and in this run \(8, 4\)"),
        ({"params": {"bias": np.zeros(())}}, 6, "has params/conv/kernel, which this run knows nothing of"),
        ({"batch_stats": {"mean": np.zeros(3)}}, 6, "has no batch_stats/mean, which this run needs"),
    ],
)
def test_other_shapes_are_no_damage(tmp_path: Path, change: dict[str, Any], classes: int, words: str):
    one = state(3, {}, True)
    save(tmp_path, one)
    other = dataclasses.replace(one, **jax.device_put(change, replicated(make_mesh(1))))
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match=words) as refused:
        checkpoints.restore(other, tiny(), classes)
    assert "the checkpoint is sound" in str(refused.value) and "damaged" not in str(refused.value)


def test_all_keys_of_another_config_are_named(tmp_path: Path):
    one = state(3, {}, True)
    save(tmp_path, one)
    other = tiny(loss__alpha=0.3, train__seed=1, train__log_every=7, evaluation__far=0.01)
    words = r"loss\.alpha = 0\.2, and this run asks for 0\.3; with train\.seed = 0, and this run asks for 1; resume"
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match=words):
        checkpoints.restore(one, other)


def save_as_earlier_versions(folder: Path, one: TrainState) -> None:
    """By Orbax's manager, without checksums, and with a config that calls loss.classifier_weight loss.classifier and
    has no loss.kind."""
    config = {key.replace("classifier_weight", "classifier"): value for key, value in to_json(tiny()).items()}
    del config["loss.kind"]
    handlers = {"state": ocp.StandardCheckpointHandler(), "loader": ocp.JsonCheckpointHandler()}
    handlers["config"] = ocp.JsonCheckpointHandler()
    with ocp.CheckpointManager(folder, item_names=tuple(handlers), item_handlers=handlers) as manager:
        items = {"loader": {"place": int(one.step)}, "config": config}
        json_items = {name: ocp.args.JsonSave(item) for name, item in items.items()}
        manager.save(int(one.step), args=ocp.args.Composite(state=ocp.args.StandardSave(one), **json_items))


def test_a_checkpoint_of_an_earlier_version_is_resumed_and_it_is_said(tmp_path: Path, capsys):
    one = state(3, {}, True)
    save_as_earlier_versions(tmp_path, one)
    with Checkpoints(tmp_path) as checkpoints:
        restored, place = checkpoints.restore(one, tiny())
        assert place == {"place": 3} and "3: is of an earlier version, without checksums" in capsys.readouterr().err
        with pytest.raises(CheckpointError, match=r"loss\.classifier_weight = 0\.0, and this run asks for 0\.5"):
            checkpoints.restore(one, tiny(loss__classifier_weight=0.5))
    jax.tree.map(np.testing.assert_array_equal, restored.params, one.params)
    jax.tree.map(np.testing.assert_array_equal, load_weights(tmp_path)[1]["params"], one.params)


def damaged_in(file: Path, how: str) -> None:
    content = bytearray(file.read_bytes())
    if how == "deleted":
        file.unlink()
    elif how == "flipped":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        file.write_bytes(content[: len(content) // 2 if how == "halved" else 0])


@pytest.mark.parametrize("how", ["deleted", "emptied", "halved", "flipped"])
@pytest.mark.parametrize("what", ["config/metadata", "SHA256SUMS", "state/ocdbt.process_0/d/*"])
def test_damage_costs_one_checkpoint_and_is_told(tmp_path: Path, what: str, how: str, capsys):
    older, newer = (state(seed, {}, True) for seed in (3, 5))
    save(tmp_path, older, newer)
    damaged_in(next(tmp_path.glob(f"5/{what}")), how)
    told = (
        r"damaged are 5: .* (is|are) (missing|damaged|not as it was written); the newest sound checkpoint, 3, is taken"
    )
    step, weights = load_weights(tmp_path)
    assert step == 3 and re.search(told, capsys.readouterr().err)
    with Checkpoints(tmp_path) as checkpoints:
        restored, place = checkpoints.restore(newer, tiny())
        assert re.search(told, capsys.readouterr().err)
        checkpoints.save(newer, {"place": 5}, tiny())  # the step comes again
    jax.tree.map(np.testing.assert_array_equal, (restored.params, weights["params"]), (older.params, older.params))
    assert place == {"place": 3} and (tmp_path / "5.damaged").is_dir() and load_weights(tmp_path)[0] == 5


def test_where_none_is_sound_nothing_is_changed(tmp_path: Path):
    one = state(3, {}, True)
    save(tmp_path, one, state(5, {}, True))
    damaged_in(tmp_path / "5" / "loader" / "metadata", "flipped")
    (tmp_path / "3" / "state" / "more").write_bytes(b"")
    words = (
        r"no checkpoint is sound \(5: loader/metadata is not as it was written; 3: state/more does not belong there\); "
        "restore one from a copy, or start anew in another folder"
    )
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match=words):
        checkpoints.restore(one, tiny())
    with pytest.raises(CheckpointError, match=words):
        load_weights(tmp_path)
    assert files.steps_in(tmp_path) == [3, 5]


def test_arrays_that_are_not_those_that_were_saved(tmp_path: Path, capsys):
    """A list of files that fits them does not help: what was restored is compared too."""
    one = state(3, {}, True)
    save(tmp_path, one, state(5, {}, True))
    tensors = tmp_path / "5" / "tensors.json"
    tensors.write_text(tensors.read_text().replace("float32 8x5 ", "float32 8x5 1", 1))
    checksums.seal(tmp_path / "5")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(one, tiny())[1] == {"place": 3}
    assert "5: centres is not as it was saved" in capsys.readouterr().err


def full(*_: object, **__: object) -> None:
    try:
        raise ValueError("RESOURCE_EXHAUSTED: Failed writing: No space left on device [os_error_code='28']")
    except ValueError:
        logging.getLogger("absl").exception("a thread has raised")
        raise


@pytest.mark.parametrize("when", ["save", "wait_until_finished"])
def test_a_disk_that_fills_up_is_one_sentence_and_costs_no_checkpoint(
    tmp_path: Path, when: str, capfd: pytest.CaptureFixture
):
    """Whenever Orbax comes to tell of it; and nothing besides."""
    first, second = state(3, {}, False), state(4, {}, False)
    run = tmp_path / "run"
    with pytest.raises(OutputError, match="run: cannot be written, the disk is full"), Checkpoints(run) as checkpoints:
        checkpoints.save(first, {}, tiny())
        checkpoints.wait()
        setattr(checkpoints._checkpointer, when, full)
        checkpoints.save(second, {}, tiny())
        while checkpoints.latest_step() == 4:
            checkpoints.check()
    assert "Traceback" not in capfd.readouterr().err and [place.name for place in run.iterdir()] == ["3"]
    with Checkpoints(run) as checkpoints:
        assert int(checkpoints.restore(second, tiny())[0].step) == checkpoints.latest_step() == 3
        checkpoints.save(second, {}, tiny())
    assert load_weights(run)[0] == 4


def test_room_is_asked_for_before_the_run_and_before_each_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    one = state(3, {}, False)
    size = room.size_of(one)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(one, {}, tiny())
        checkpoints.wait()
        held = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
        monkeypatch.setattr(room, "free", lambda folder: 3 * size - held)
        checkpoints.check_room(one, 10)
        monkeypatch.setattr(room, "free", lambda folder: 3 * size - held - 1)
        with pytest.raises(OutputError, match=r"2 checkpoints of .* KiB, and one that is written, need .* make room"):
            checkpoints.check_room(one, 10)
        monkeypatch.setattr(room, "free", lambda folder: size - 1)
        with pytest.raises(OutputError, match=r"the checkpoint of step 4 needs \d+ KiB, and \d+ KiB are free"):
            checkpoints.save(state(4, {}, False), {}, tiny())
    assert files.steps_in(tmp_path) == [3]


def test_which_are_kept(tmp_path: Path):
    scores = {2: 0.9, 3: 0.7, 4: 0.9, 5: 0.1}
    with Checkpoints(tmp_path, Keep(newest=1, every=3, best="lfw"), lambda: scores) as checkpoints:
        for step in range(2, 8):
            checkpoints.save(state(step, {}, False), {}, tiny())
    assert files.steps_in(tmp_path) == [3, 4, 6, 7]
