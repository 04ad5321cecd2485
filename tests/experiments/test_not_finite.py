"""Trainings of detectors go on after a step that is not finite, and end with a report after too many in a row."""

from pathlib import Path
from typing import Any

import cv2
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import mtcnn, retinaface
from faces.run_record import NOT_FINITE
from mtcnn_jax.examples import load_windows
from tests.experiments import test_mtcnn, test_retinaface
from tests.experiments.setting import refused, rows_of, run

MAINS: dict[str, Any] = {"mtcnn": mtcnn, "retinaface": retinaface}
LAYERS = {"mtcnn": ["matrix"], "retinaface": ["stride8", "stride16", "stride32"]}


def given(name: str, out: Path, *more: str) -> list[str]:
    return test_mtcnn.given(out, *more) if name == "mtcnn" else test_retinaface.given(out, 3, *more)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    test_mtcnn.make_small(monkeypatch)
    test_retinaface.make_small(monkeypatch)


def break_steps(monkeypatch: pytest.MonkeyPatch, name: str, broken: set[int]) -> None:
    """Some steps get infinite points."""
    real = MAINS[name].make_train_step

    def make(*given: Any, **options: Any) -> Any:
        step = real(*given, **options)

        def broken_step(state: Any, batch: Any) -> Any:
            is_broken = int(state.step) + 1 in broken
            return step(state, {**batch, "points": batch["points"] + jnp.inf} if is_broken else batch)

        return broken_step

    monkeypatch.setattr(MAINS[name], "make_train_step", make)


@pytest.mark.parametrize("name", MAINS)
def test_one_step_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    break_steps(monkeypatch, name, {2})
    printed = run(MAINS[name].main, given(name, tmp_path / "run", "--devices", "1"))
    text = " ".join(" ".join(printed).split())
    assert "step 2: loss " in text and "it changes nothing" in text
    assert "1 of 3 steps were not finite and changed nothing; see not_finite.jsonl" in text
    for folder in [tmp_path / "run" / net for net in "pro"] if name == "mtcnn" else [tmp_path / "run"]:
        (row,) = rows_of(folder / NOT_FINITE)
        assert row["step"] == 2 and row["loss"] in ("nan", "inf") and "people" not in row
        assert len(row["indices"]) == (16 if name == "mtcnn" else 8) and max(row["indices"]) < 400
        assert not (folder / "not_finite").exists()


@pytest.mark.parametrize("name", MAINS)
def test_too_many_are_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, name: str):
    break_steps(monkeypatch, name, {2, 3})
    out, section = tmp_path / "run", "course" if name == "mtcnn" else "train"
    folder = out / "p" if name == "mtcnn" else out
    words = ("step 3: loss ", "number 2 of such steps in a row (most_not_finite = 2)", str(folder / "not_finite"))
    more = ("--devices", "1", f"--{section}.most-not-finite", "2")
    refused(MAINS[name].main, capsys, given(name, out, *more), *words, "Lower optimiser.learning_rate")
    assert [row["step"] for row in rows_of(folder / NOT_FINITE)] == [2, 3]
    report = (folder / "not_finite" / "report.txt").read_text()
    assert all(any(line.split()[1:2] == [layer] for line in report.splitlines()) for layer in LAYERS[name])
    sheet = cv2.imread(str(folder / "not_finite" / "batch.png"))
    assert sheet is not None and (sheet != 255).any()
    if name == "mtcnn":
        pool = load_windows(folder / "windows.npz")  # kept, so that the places in the record say which windows
        assert max(rows_of(folder / NOT_FINITE)[0]["indices"]) < len(pool["kinds"])
    assert np.isfinite(rows_of(folder / "log.jsonl")[0]["loss"])
