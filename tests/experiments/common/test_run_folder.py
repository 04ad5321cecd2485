"""Whose folder a run may take, and the command that goes on."""

import argparse
import contextlib
import shlex
from pathlib import Path

import pytest

from experiments.common.run_folder import claim, says_how_to_go_on
from faces.errors import CheckpointError, FacesError, OutputError


def claimed(out: Path, resume: bool) -> Path:
    with contextlib.ExitStack() as stack:
        return claim(argparse.Namespace(out=out, resume=resume, config="facenet/tiny"), stack)


@pytest.mark.parametrize(
    "left",
    [
        [],
        ["checkpoints/"],
        ["training_set.json"],
        ["training_set.json", "config.toml"],
        [".training_set.0123456789abcdef.json"],  # killed before the file had its name
        ["config.toml", "checkpoints/", "log.jsonl"],
    ],
)
def test_a_run_that_was_killed_before_its_first_checkpoint_is_resumed(tmp_path: Path, left: list[str]):
    out = tmp_path / "run"
    out.mkdir()
    for name in left:
        (out / name).mkdir() if name.endswith("/") else (out / name).write_text("")
    assert claimed(out, resume=True) == out
    if left:
        with pytest.raises(OutputError, match="run: holds results already; add --resume to continue it"):
            claimed(out, resume=False)
    else:
        assert claimed(out, resume=False) == out


def test_where_no_run_is_none_is_resumed(tmp_path: Path):
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "a.jpg").write_text("")
    for folder in ("photographs", "none"):
        with pytest.raises(CheckpointError, match=f"{folder}: no run to resume; start it without --resume"):
            claimed(tmp_path / folder, resume=True)


@pytest.mark.parametrize(("has_begun", "words"), [(True, "Then go on with: "), (False, "Then start again with: ")])
def test_what_the_disk_refuses_is_told_with_the_command(tmp_path: Path, has_begun: bool, words: str):
    given = ["--data", "some faces", "--out", str(tmp_path / "run")]
    if has_begun:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "config.toml").write_text("")

    def told(error: FacesError) -> str:
        with pytest.raises(type(error)) as raised, says_how_to_go_on("facenet", given, tmp_path / "run"):
            raise error
        return str(raised.value)

    first, _, command = told(OutputError("the disk is full; make room.")).partition(words)
    expected = ["python", "-m", "experiments.facenet", *given, *(["--resume"] if has_begun else [])]
    assert (first, shlex.split(command)) == ("the disk is full; make room. ", expected)
    assert told(CheckpointError("none")) == "none"
