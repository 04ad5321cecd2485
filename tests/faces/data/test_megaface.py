"""Feature files of MegaFace, its lists and lists of wrong pictures; malformed ones."""

import struct

import numpy as np
import pytest

from faces.data import megaface
from faces.errors import DataError


def test_feature_files(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(struct.pack("<4i3f", 3, 1, 4, 5, 0.5, -2, 7))
    feature = megaface.read_feature(path)
    assert feature.tolist() == [0.5, -2, 7] and feature.dtype == np.float32
    megaface.write_feature(tmp_path / "b.bin", feature.astype(np.float64))
    assert (tmp_path / "b.bin").read_bytes() == path.read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.bin", "b.bin"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"short", "5 bytes; a feature file starts with four numbers"),
        (struct.pack("<4i", 0, 1, 4, 5), "starts with 0, 1, 4, 5; the dimension, 1, 4, 5 expected"),
        (struct.pack("<4i", -1, 1, 4, 5), "starts with -1, 1, 4, 5"),
        (struct.pack("<4i1f", 1, 1, 4, 6, 0), "starts with 1, 1, 4, 6"),
        (struct.pack("<4i1f", 2, 1, 4, 5, 0), "20 bytes, but a feature of 2 numbers has 24"),
        (struct.pack("<4i1f", 2**31 - 1, 1, 4, 5, 0), "20 bytes, but a feature of 2,147,483,647 numbers has"),
    ],
)
def test_foreign_feature_files(tmp_path, data, message):
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"a.bin: {message}"):
        megaface.read_feature(path)
    with pytest.raises(DataError, match="cannot be read"):
        megaface.read_feature(tmp_path / "none.bin")


def test_lists_and_noises(tmp_path):
    (tmp_path / "fs").write_text("data/facescrub_images/Al_Roker/Al_Roker_1.png\nx/Bo_X/Bo_X_2.png\n")
    (tmp_path / "mf").write_text("data/megaface_images/012/34@N/5.jpg\n012/34@N/6.jpg\n")
    (tmp_path / "fs_noise").write_text("# wrong people\nBo_X_2.png\n")
    (tmp_path / "mf_noise").write_text("# no faces\n17\t012/34@N/6.jpg\n012/9@N/6.jpg\n")
    facescrub = megaface.read_list(tmp_path / "fs", "facescrub")
    assert facescrub == ["Al_Roker/Al_Roker_1.png", "Bo_X/Bo_X_2.png"]
    distractors = megaface.read_list(tmp_path / "mf", "megaface")
    assert distractors == ["012/34@N/5.jpg", "012/34@N/6.jpg"]
    of = megaface.read_noises
    assert megaface.is_noise(facescrub, "facescrub", of(tmp_path / "fs_noise")).tolist() == [False, True]
    assert megaface.is_noise(distractors, "megaface", of(tmp_path / "mf_noise")).tolist() == [False, True]
    number, people = megaface.people_of([*facescrub[::-1], facescrub[0]])
    assert (number.tolist(), people) == ([1, 0, 0], ["Al_Roker", "Bo_X"])


@pytest.mark.parametrize("line", ["a.jpg", "x/../a.jpg", "x\\y/a.jpg", "x//a.jpg"])
def test_malformed_lists(tmp_path, line):
    (tmp_path / "lst").write_text(f"P/P_1.jpg\n{line}\n")
    with pytest.raises(DataError, match="lst, line 2: a path that ends in 2 names expected"):
        megaface.read_list(tmp_path / "lst", "facescrub")
    (tmp_path / "lst").write_text("\n")
    with pytest.raises(DataError, match="no picture in it"):
        megaface.read_list(tmp_path / "lst", "facescrub")


def test_blocks_of_features(tmp_path):
    names = [f"01/a@N/{i}.jpg" for i in range(5)]
    (tmp_path / "megaface/01/a@N").mkdir(parents=True)
    for i, name in enumerate(names):
        megaface.write_feature(tmp_path / f"megaface/{name}_ours.bin", np.arange(3) + 10.0 * i)
    blocks = list(megaface.feature_blocks(tmp_path, "megaface", names, "ours", block=2))
    assert [len(block) for block in blocks] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(blocks), np.arange(3)[None] + 10.0 * np.arange(5)[:, None])
    megaface.write_feature(tmp_path / f"megaface/{names[3]}_ours.bin", np.ones(4))
    with pytest.raises(DataError, match=r"3\.jpg_ours\.bin: 4 numbers, but the first feature has 3"):
        list(megaface.feature_blocks(tmp_path, "megaface", names, "ours", block=2))
