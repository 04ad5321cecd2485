"""The table of all benchmarks: ratios by hand, several runs side by side, a file that keeps everything else."""

import json
from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.rounds import Row, take_turns
from faces.errors import DataError


def row(ours: float, theirs: float, unit: str, goal: float, work: str = "work") -> dict:
    made = Row(work, "peer", ours, theirs, unit, goal, "remark")
    return {"work": work, "peer": "peer", "ours": ours, "theirs": theirs, "unit": unit, "goal": goal,
            "remark": "remark", "ratio": made.ratio}  # fmt: skip


def test_more_of_a_rate_and_less_of_anything_else_is_better():
    assert Row("w", "p", 30.0, 20.0, "images/s", 1.0).ratio == 1.5
    assert Row("w", "p", 20.0, 30.0, "ms", 1.0).ratio == 1.5
    assert Row("w", "p", 2.0, 2.2, "exponent", 1.0).ratio == pytest.approx(1.1)


def test_every_call_takes_its_turn():
    turns: list[str] = []
    times = take_turns({name: lambda name=name: turns.append(name) for name in "ab"}, rounds=4)
    assert turns == ["a", "b"] * 5  # the first of each is not timed
    assert times["a"]["rounds"] == 4 and times["a"]["quickest_ms"] <= times["a"]["median_ms"]
    turns.clear()
    take_turns({name: lambda name=name: turns.append(name) for name in "ab"}, rounds=1, warm=False)
    assert turns == ["a", "b"]


def test_the_table_holds_every_run(tmp_path: Path):
    results = tmp_path / "RESULTS.md"
    results.write_text(f"before\n{run.BEGIN}\nold\n{run.END}\nafter\n")
    files = []
    first = [row(10, 25, "ms", 2.0), row(1, 3, "MiB", 2.0)]
    second = [row(10, 15, "ms", 2.0), row(200, 50, "MiB", 1.0, "b")]
    for number, rows in enumerate((first, second)):
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(json.dumps({"time": f"2026-01-0{number + 1}T10:20:30+00:00", "rows": rows}))
    run.write_table(results, files)
    text = results.read_text()
    assert text.startswith(f"before\n{run.BEGIN}\n") and text.endswith(f"{run.END}\nafter\n") and "old" not in text
    assert "Runs: 2026-01-01 10:20 UTC, 2026-01-02 10:20 UTC." in text
    assert "| work | peer | 10 ms | 15 ms | 2.50, 1.50 | 2, missed | remark |" in text
    assert "| work | peer | 1 MiB | 3 MiB | 3.00 | 2 | remark |" in text
    assert "| b | peer | 200 MiB | 50 MiB | 0.25 | 1, missed | remark |" in text

    results.write_text("no marks")
    with pytest.raises(DataError, match="are missing"):
        run.write_table(results, files)


def test_what_needs_data_is_left_out_without_it(tmp_path: Path):
    assert run.arguments_of("detect", run.parse([])) is None and run.arguments_of("triplet", run.parse([])) == []
    options = run.parse(["--photographs", "p", "--detectors", str(tmp_path)])
    with pytest.raises(DataError, match=r"no mobilenet0.25_Final.pth"):
        run.arguments_of("detect", options)
    (tmp_path / "mtcnn").mkdir()
    (tmp_path / "mtcnn" / "det1.npy").touch()
    assert run.arguments_of("mtcnn", options) == ["p", "--detector-weights", str(tmp_path / "mtcnn")]
