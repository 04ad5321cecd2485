"""A few hundred damaged files and all bombs, small: as `python -m benchmarks.fuzz_weights` does with many."""

import re

import pytest

from benchmarks import fuzz_weights
from faces.errors import WeightsError
from faces.weights.weights_file import WeightsFile


def test_damaged_files_are_read_or_refused(tmp_path):
    tallies = fuzz_weights.fuzz(fuzz_weights.samples(), files=15, seed=7, folder=tmp_path, most=None)
    assert len(tallies) == 11
    for name, tally in tallies.items():
        assert not tally.defects, (name, tally.defects)
        assert tally.files > 15 and tally.read > 0 and tally.refused > 0, name


def test_bombs_are_small(tmp_path):
    tally = fuzz_weights.fuzz({}, 0, 0, tmp_path, most=1_000)["bombs"]
    assert not tally.defects
    assert tally.refused > 60


def test_the_judge_finds_defects(tmp_path, monkeypatch):
    """Memory, code that is run, foreign exceptions and what is no sentence are told from refusals."""
    tally = fuzz_weights.Tally()

    def read_too_much(path):
        return {"a": bytearray(70 * 2**20)}

    def fail(path):
        raise KeyError("of ours")

    def babble(path):
        raise WeightsError("without an end")

    def run(path):
        exec("marker = 1")
        return {"a": 1}

    fuzz_weights.tracemalloc.start()
    try:
        for reader, defect in [
            (read_too_much, "beyond twice its size"),
            (run, "did compile|did exec"),
            (fail, "KeyError"),
            (babble, "no sentence"),
        ]:
            monkeypatch.setattr(fuzz_weights, "read_weights", reader)
            fuzz_weights.try_file(tally, tmp_path / "x", b"1", "x", audit=True)
            assert re.search(defect, tally.defects[-1])
    finally:
        fuzz_weights.tracemalloc.stop()
    assert len(tally.defects) == 4


def test_memory_is_counted_before_it_is_taken(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(100))
    file = WeightsFile(path)
    assert file.left == 200 + 16 * 2**20
    with pytest.raises(WeightsError, match="more than twice its size"):
        file.spend(file.left + 1)
    file.spend(file.left)
    with pytest.raises(WeightsError, match="more than twice its size"):
        file.array((25,), "<f4", "w", 0, 100)
