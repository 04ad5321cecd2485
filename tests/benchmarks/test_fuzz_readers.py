"""What the fuzzer starts from and has kept is read, or refused by an error of ours."""

from pathlib import Path

import pytest

from benchmarks.fuzz_readers import CORPUS, keep, stored
from benchmarks.fuzz_sources import readers
from faces.errors import FacesError

READERS = readers()


@pytest.mark.parametrize("name", READERS)
def test_kept_inputs_are_read_or_refused(tmp_path: Path, name: str):
    read, sound = READERS[name]
    for number, data in enumerate([*sound, *stored(name)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "input").write_bytes(data)
        try:
            read(folder / "input")
        except FacesError as error:
            assert str(error)


def test_each_kept_file_belongs_to_a_reader_and_is_small():
    files = {file.name: file for file in CORPUS.iterdir()}
    assert set(files) <= {f"{name.replace(' ', '_')}.txt" for name in (*READERS, "HEIF")}  # which needs an extra
    assert all(file.stat().st_size < 4_000 for file in files.values())


def test_the_smallest_are_kept(tmp_path: Path):
    found = tmp_path / "found"
    found.mkdir()
    for number, size in enumerate((1000, 3, 2000, 500)):
        (found / str(number)).write_bytes(bytes([number]) * size)
    keep("nobody's", found, tmp_path / "kept")
    lines = (tmp_path / "kept" / "nobody's.txt").read_text().split()
    assert [len(line) * 3 // 4 for line in lines] == [3, 501]
