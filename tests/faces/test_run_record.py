"""Files of a run: whole or not there, and a log that a resumed run continues."""

import json
from importlib.metadata import version

import numpy as np
import pytest

from facenet_jax.config import Config
from faces import run_record
from faces.data.fingerprint import fingerprint
from faces.data.source import ArraySource
from faces.errors import CheckpointError, DataError, FacesError
from faces.toml_config import load_config
from tests.faces.configs import tiny


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_log_and_read_log(tmp_path):
    log = run_record.Log(tmp_path, "log.jsonl", 0)
    assert run_record.read_log(tmp_path / "log.jsonl") == []
    rows = [{"step": step, "loss": 1 / step} for step in (1, 5, 10)]
    for row in rows:
        log.add(row)
    assert run_record.read_log(tmp_path / "log.jsonl") == rows
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3
    assert run_record.read_log(tmp_path / "absent.jsonl") == []


@pytest.mark.parametrize(("from_step", "kept"), [(0, []), (4, [1]), (5, [1, 5]), (7, [1, 5]), (99, [1, 5, 10])])
def test_a_resumed_log_drops_what_is_done_again(tmp_path, from_step, kept):
    log = run_record.Log(tmp_path, "log.jsonl", 0)
    for step in (1, 5, 10):
        log.add({"step": step})
    resumed = run_record.Log(tmp_path, "log.jsonl", from_step)
    assert [row["step"] for row in run_record.read_log(tmp_path / "log.jsonl")] == kept
    resumed.add({"step": 100})
    assert [row["step"] for row in run_record.read_log(tmp_path / "log.jsonl")] == [*kept, 100]
    assert files(tmp_path) == ["log.jsonl"]


@pytest.mark.parametrize("rest", ["", "{", '{"step": 2', '{"step": 2, "loss": 0.'])
def test_a_line_cut_by_a_crash_is_left_out_and_overwritten(tmp_path, rest):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n' + rest)
    assert run_record.read_log(path) == [{"step": 1}]
    run_record.Log(tmp_path, "log.jsonl", 1).add({"step": 2})
    assert run_record.read_log(path) == [{"step": 1}, {"step": 2}]


def test_environment():
    given = run_record.environment()
    assert set(given) == {
        "date", "command", "python", "machine", "devices", "processes", "xla_flags", "glibc_tunables", "packages",
        "commit", "uncommitted_files",
    }  # fmt: skip
    assert len(given["devices"]) == 8
    assert "device_count=8" in given["xla_flags"]
    assert given["packages"]["jax"] == version("jax")
    assert all(text and text != "not installed" for text in given["packages"].values())
    assert json.loads(json.dumps(given)) == given


def test_environment_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    given = run_record.environment()
    assert given["commit"] == "" and given["uncommitted_files"] == []


def test_write_start(tmp_path):
    folder = tmp_path / "runs" / "one"
    config = tiny(loss__alpha=0.3)
    source = ArraySource("three", np.zeros((3, 8, 8, 3), np.uint8), np.array([1, 0, 1], np.int32))
    run_record.write_start(folder, config, fingerprint(source))
    assert files(folder) == ["config.toml", "environment.json", "training_set.json"]
    assert load_config(str(folder / "config.toml"), Config)[0] == config
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["processes"] == 1
    assert environment["training_set"].items() >= {"name": "three", "images": 3, "people": 2}.items()


PIXELS = np.arange(3 * 8 * 8 * 3, dtype=np.uint8).reshape(3, 8, 8, 3)
THREE = ArraySource("three", PIXELS, np.array([1, 0, 1], np.int32))


def test_another_training_set_is_refused_by_what_differs(tmp_path):
    run_record.write_start(tmp_path, tiny(), fingerprint(THREE))
    assert run_record.check_training_set(tmp_path, fingerprint(THREE)) == ""
    other = ArraySource("other", THREE.images[:, ::-1], THREE.identities)
    words = r"was trained on 3 images of 2 people of three, and other with 3 images of 2 people is another set: the im"
    with pytest.raises(CheckpointError, match=words + r"ages of 2 are others, first 0's .* start in another folder"):
        run_record.check_training_set(tmp_path, fingerprint(other))
    (tmp_path / "training_set.json").write_text('{"name": "th')
    with pytest.raises(DataError, match=r"training_set\.json, line 1: is damaged"):
        run_record.check_training_set(tmp_path, fingerprint(THREE))
    (tmp_path / "training_set.json").unlink()
    with pytest.raises(CheckpointError, match=r"does not tell what it was trained on \(training_set\.json is missing"):
        run_record.check_training_set(tmp_path, fingerprint(THREE))


def test_a_run_of_an_earlier_version_is_compared_by_its_counts(tmp_path):
    path = tmp_path / "environment.json"
    path.write_text('{"training_set": {"name": "three", "images": 3, "people": 2}}')
    assert "earlier version" in run_record.check_training_set(tmp_path, fingerprint(THREE))
    path.write_text('{"training_set": {"name": "three", "images": 4, "people": 2}}')
    with pytest.raises(CheckpointError, match="was trained on 4 images, and three has 3"):
        run_record.check_training_set(tmp_path, fingerprint(THREE))
    for content in ("{", "[]", '{"training_set": 3}', '{"training_set": {"images": "x"}}', "\0"):
        path.write_text(content)
        with pytest.raises(FacesError, match=r"environment\.json|does not tell"):
            run_record.check_training_set(tmp_path, fingerprint(THREE))


@pytest.mark.parametrize("damaged", ["{", "12", "null", "[1]", '{"loss": 1}', '{"step": "2"}', "\x00\x00"])
def test_a_damaged_line_is_left_out_at_the_end_and_refused_before(tmp_path, damaged):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n' + damaged + "\n")
    assert run_record.read_log(path) == [{"step": 1}]
    path.write_text('{"step": 1}\n' + damaged + '\n{"step": 3}\n')
    for read in (run_record.read_log, lambda path: run_record.Log(tmp_path, "log.jsonl", 3)):
        with pytest.raises(DataError, match=r"log\.jsonl, line 2: is damaged; correct the line, or take it out"):
            read(path)
    assert len(path.read_text().splitlines()) == 3


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n\xff\xfe\n{"step": 3}\n')
    with pytest.raises(DataError, match="line 2"):
        run_record.read_log(path)
