"""What surrounds the work of a main: places first, then results together, and what Ctrl-C leaves."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from experiments.common.results import deliver
from faces.cli import exit_code
from faces.terminal import make_console


def given(tmp_path: Path, **changed: Any) -> argparse.Namespace:
    usual = {"out": tmp_path / "out", "cache": tmp_path / "cache", "overwrite": False, "weights": tmp_path}
    return argparse.Namespace(**{**usual, **changed})


def delivered(options: argparse.Namespace, work: Any) -> int:
    return exit_code(lambda _: deliver(options, make_console(), work), [])


def test_results_are_recorded_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert delivered(given(tmp_path), lambda out: {"a": str(out.parent)}) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [f"everything is in {tmp_path / 'out'}", "result: " + json.dumps({"a": str(tmp_path / "out")})]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [".contents", "environment.json", "result.json"]


@pytest.mark.parametrize("place", ["out", "cache"])
@pytest.mark.parametrize("where", ["file", "file/below", "/proc/x", "a" * 300])
def test_no_work_begins_where_nothing_can_be_written(tmp_path: Path, place: str, where: str, capsys):
    (tmp_path / "file").write_text("mine")

    def work(out: Path) -> dict[str, Any]:
        raise AssertionError("too early")

    assert delivered(given(tmp_path, **{place: tmp_path / where}), work) == 2
    assert where in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "mine"
    # Features that are judged without weights ask no cache.
    if place == "cache":
        assert delivered(given(tmp_path, cache=tmp_path / where, weights=None), lambda out: {}) == 0


def test_ctrl_c_leaves_nothing_half_made_and_says_what_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture):
    def work(out: Path) -> dict[str, Any]:
        (out / "half.txt").write_text("x")
        raise KeyboardInterrupt

    assert delivered(given(tmp_path), work) == 130
    words = f"interrupted. Faces found and embedded so far are kept in {tmp_path / 'cache'}."
    assert capsys.readouterr().err.startswith(f"{words}\ngo on with: python ") and not list(tmp_path.iterdir())
