"""What was looked at, on disk: whole groups are read back, and what a kill leaves behind them is cut off."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from faces.aligned.looks import FACES, LINES, CutFace, Look, Looks
from faces.errors import DataError


def fill(folder: Path, groups: int) -> Looks:
    looks = Looks(folder)
    for group in range(groups):
        number = len(looks)
        picture = looks.place(f"picture {number}".encode())
        embedding = looks.place(np.array([number, 0.1], np.float32).tobytes())
        face = CutFace(1, picture, 0.25, embedding)
        boxes = ((0.0, 1.0, 2.0, 3.5), (4.0, 5.0, 6.0, 7.25))
        looks.end_group([Look(f"a{group}", "b", "", boxes, (face,), ("no",)), Look("", unreadable="is no picture")])
    return looks


def test_what_was_written_is_read_back(tmp_path: Path):
    fill(tmp_path, 2).close()
    looks = Looks(tmp_path)
    assert [look.sha256 for look in looks.looks] == ["a0", "", "a1", ""]
    assert looks.looks == fill(shutil.copytree(tmp_path, tmp_path / "x") / ".." / "x", 0).looks
    face = looks.looks[2].cut[0]
    assert looks.read(face.picture) == b"picture 2" and looks.looks[2].uncut == ("no",)
    np.testing.assert_array_equal(looks.embedding(face), np.array([2, 0.1], np.float32))
    np.testing.assert_array_equal(looks.looks[2].box(face), np.array([4, 5, 6, 7.25]))
    assert np.isnan(looks.looks[2].box(CutFace(None, (0, 0), 0, None))).all()
    looks.close()


@pytest.mark.parametrize("cut", [1, 20, -1])
def test_what_a_kill_leaves_behind_the_last_whole_line_is_cut_off(tmp_path: Path, cut: int):
    fill(tmp_path, 3).close()
    lines = (tmp_path / LINES).read_bytes().splitlines(keepends=True)
    (tmp_path / LINES).write_bytes(b"".join(lines[:2]) + lines[2][:cut])
    looks = Looks(tmp_path)
    assert len(looks) == 4
    assert (tmp_path / LINES).read_bytes() == b"".join(lines[:2])
    assert looks.place(b"x") == (2 * 17, 1)  # of each group 9 bytes and 8
    looks.close()


def test_an_unfinished_group_is_forgotten(tmp_path: Path):
    looks = fill(tmp_path, 1)
    looks.place(b"half a group")
    looks.close()
    assert (tmp_path / FACES).stat().st_size == 17 + 12
    assert len(Looks(tmp_path)) == 2 and (tmp_path / FACES).stat().st_size == 17


def test_nothing_is_written_before_there_is_something(tmp_path: Path):
    Looks(tmp_path).close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["line", "faces"])
def test_other_damage_is_refused(tmp_path: Path, damage: str):
    fill(tmp_path, 2).close()
    if damage == "line":
        lines = (tmp_path / LINES).read_text().splitlines(keepends=True)
        (tmp_path / LINES).write_text("{}\n" + lines[1])
    else:
        (tmp_path / FACES).write_bytes(b"short")
    with pytest.raises(DataError, match=r"looks.jsonl, line 1: is damaged.*begin anew with --overwrite"):
        Looks(tmp_path)
