"""MATLAB files: written by SciPy, read here; damaged, foreign and lying ones."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
from scipy.io import savemat

from faces.data.mat_file import read_mat
from faces.errors import DataError


def cell(*items) -> np.ndarray:
    box = np.empty((len(items), 1), object)
    for i, item in enumerate(items):
        box[i, 0] = item
    return box


VARIABLES = {
    "doubles": np.array([[1.5, -2], [3, 1e300]]),
    "bytes": np.arange(6, dtype=np.uint8).reshape(2, 3),
    "long": np.arange(2, dtype=np.int64),
    "word": "0--Parade",
    "nested": cell(cell("a", np.ones((3, 1))), np.zeros((0, 4)), "ü"),
}


@pytest.mark.parametrize("compress", [False, True])
def test_what_scipy_writes(tmp_path, compress):
    savemat(tmp_path / "a.mat", {**VARIABLES, "other": {"a": 1}}, do_compression=compress)
    read = read_mat(tmp_path / "a.mat", tuple(VARIABLES))
    assert set(read) == set(VARIABLES)
    for name in ("doubles", "bytes"):
        np.testing.assert_array_equal(read[name], VARIABLES[name])
    assert np.ravel(read["long"]).tolist() == [0, 1] and read["word"] == "0--Parade"
    (inner, ones), empty, letter = read["nested"]
    assert inner == "a" and ones.shape == (3, 1) and empty.shape == (0, 4) and letter == "ü"
    with pytest.raises(DataError, match=r"a\.mat: damaged, or of a kind not read here \(class 2 where"):
        read_mat(tmp_path / "a.mat", ["other"])


def written(**variables) -> bytearray:
    buffer = io.BytesIO()
    savemat(buffer, variables)
    return bytearray(buffer.getvalue())


def test_foreign_files(tmp_path):
    path = tmp_path / "a.mat"
    with pytest.raises(DataError, match="cannot be read"):
        read_mat(path, ["x"])
    for data in (b"", b"MATLAB 7.3 MAT-file" + bytes(200), bytes(written(x=1.0))[:100]):
        path.write_bytes(data)
        with pytest.raises(DataError, match="no MATLAB file of version 5"):
            read_mat(path, ["x"])


@pytest.mark.parametrize("compress", [False, True])
def test_files_that_declare_more_than_they_have(tmp_path, compress):
    path = tmp_path / "a.mat"
    data = written(x=cell(np.ones((2, 1)), np.ones((1, 1))))
    at = data.find(struct.pack("<ii", 2, 1))
    data[at : at + 8] = struct.pack("<ii", 2**29, 1)
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(DataError, match="a cell of 536,870,912 with 2 elements"):
        read_mat(path, ["x"])
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_mutations_are_read_or_refused(tmp_path):
    path, rng = tmp_path / "a.mat", np.random.default_rng(0)
    buffer = io.BytesIO()
    savemat(buffer, VARIABLES)
    plain = buffer.getvalue()
    for _ in range(200):
        data = bytearray(plain[: rng.integers(128, len(plain) + 1)])
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(124, len(data))] = rng.integers(256)
        path.write_bytes(data)
        try:
            read_mat(path, tuple(VARIABLES))
        except DataError as error:
            assert "a.mat: " in str(error)


def test_bombs(tmp_path, monkeypatch):
    monkeypatch.setattr("faces.data.mat_file.LARGEST_CONTENT", 1 << 16)
    savemat(tmp_path / "a.mat", {"x": np.zeros(1 << 14)}, do_compression=True)
    with pytest.raises(DataError, match="too large once decompressed"):
        read_mat(tmp_path / "a.mat", ["x"])
    monkeypatch.setattr("faces.data.mat_file.LARGEST_FILE", 100)
    with pytest.raises(DataError, match="more than the 100 bytes"):
        read_mat(tmp_path / "a.mat", ["x"])
