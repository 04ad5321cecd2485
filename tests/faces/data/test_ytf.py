"""YouTube Faces on disk: list, layouts, missing frames, malformed lists, and the real list."""

from unicodedata import normalize

import numpy as np
import pytest

from faces.data.ytf import read_splits, read_ytf
from faces.errors import DataError
from tests.faces.data.makers import picture
from tests.faces.data.ytf_maker import FRAMES, ROWS, SPLIT_OF, splits_text, ytf


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_list_of_pairs(tmp_path, header, end):
    path = tmp_path / "splits.txt"
    path.write_bytes(splits_text(header, end).encode())
    pairs = read_splits(path)
    assert pairs.videos == tuple(sorted(FRAMES))
    read = [
        (pairs.videos[a], pairs.videos[b], int(same))
        for a, b, same in zip(pairs.first, pairs.second, pairs.same, strict=True)
    ]
    assert read == ROWS
    np.testing.assert_array_equal(pairs.fold, SPLIT_OF)
    assert (pairs.first.dtype, pairs.same.dtype, pairs.fold.dtype) == (np.int32, bool, np.int32)


@pytest.mark.parametrize("aligned", [True, False])
def test_frames_by_number(tmp_path, aligned):
    root = ytf(tmp_path, aligned)
    folder = root / ("aligned_images_DB" if aligned else "frame_images_DB")
    (folder / "Ann_A" / "0" / "notes.txt").write_text("x")
    (folder / "Ann_A" / "0" / "aligned_detect_7.1.jpg").write_bytes(b"of another video")
    read = read_ytf(root)
    start = "aligned_detect_" if aligned else ""
    assert read.frames[0] == tuple(f"Ann_A/0/{start}0.{number}.jpg" for number in (9, 10, 100))
    assert [len(frames) for frames in read.frames] == [3, 2, 4, 1]
    np.testing.assert_array_equal(read.expected, [48, 48, 48, 48])
    np.testing.assert_array_equal(read.load(read.frames[1][1]), picture(107))


def test_listed_frames_say_how_many_there_should_be(tmp_path):
    root = ytf(tmp_path, aligned=False)
    rows = [f"Ann_A\\0\\0.{frame}.jpg,0,262,165,132,132,0.0,1" for frame in range(3)]
    rows += [f"Ann_A\\3\\3.{frame}.jpg,0,260,164,131,131,0.0,1" for frame in range(7)]
    path = root / "frame_images_DB" / "Ann_A.labeled_faces.txt"
    path.write_text("\r\n".join([*rows, rows[0]]))
    np.testing.assert_array_equal(read_ytf(root).expected, [3, 7, 48, 48])
    path.write_text("Bo-B\\1\\1.2.jpg,0,1,1,1,1,0.0,1\n")
    with pytest.raises(DataError, match=r"Ann_A\.labeled_faces\.txt, line 1: "):
        read_ytf(root)


def test_names_in_another_form(tmp_path):
    root = ytf(tmp_path, aligned=False)
    listed = (root / "splits.txt").read_text().replace("Ann_A", "Änn_A")
    (root / "splits.txt").write_text(listed, encoding="utf-8")
    person = normalize("NFD", "Änn_A")
    (root / "frame_images_DB" / "Ann_A").rename(root / "frame_images_DB" / person)
    row = f"{person}\\0\\0.1.jpg,0,1,1,1,1,0.0,1\n"
    (root / "frame_images_DB" / f"{person}.labeled_faces.txt").write_text(row, encoding="utf-8")
    read = read_ytf(root)
    of_first = read.pairs.videos.index("Änn_A/0")
    assert len(read.frames[of_first]) == 3 and read.expected[of_first] == 1
    assert read.load(read.frames[of_first][0]).shape[2] == 3


def test_missing_videos_are_empty(tmp_path):
    root = ytf(tmp_path)
    (root / "aligned_images_DB/Bo-B/2/aligned_detect_2.618.jpg").unlink()
    (root / "aligned_images_DB/Bo-B/2").rmdir()
    assert [len(frames) for frames in read_ytf(root).frames] == [3, 2, 4, 0]


def test_which_folder_of_frames(tmp_path):
    root = ytf(tmp_path)
    with pytest.raises(DataError, match="frame_images_DB not in it; put the frames there"):
        read_ytf(root, "frame_images_DB")
    (root / "frame_images_DB").mkdir()
    with pytest.raises(DataError, match="aligned_images_DB and frame_images_DB are both in it; say which to read"):
        read_ytf(root)
    assert len(read_ytf(root, "aligned_images_DB").frames[0]) == 3
    (root / "aligned_images_DB/Ann_A/0/aligned_detect_0.009.jpg").write_bytes(b"twice")
    with pytest.raises(DataError, match=r"Ann_A/0: aligned_detect_0\.009\.jpg and aligned_detect_0\.9\.jpg are both"):
        read_ytf(root, "aligned_images_DB")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no pair in it"),
        ("split, pair, first, second, same", "no pair in it"),
        ("1, 1, A/0, B/0", r'line 1: "split, pair, Name/video, Name/video, 1 or 0" expected, found "1, 1, A/0, B/0"'),
        ("1, 1, A/0, B/0, 1\n1, 2, A/0, B/0, yes", "line 2: "),
        ("1, 1, A/0, B/0, 1\nx, 2, A/0, B/0, 1", "line 2: "),
        ("1, 1, A/0, B, 1", 'line 1: "B" is no video of a person, Name/0 is expected'),
        ("1, 1, ../0, B/1, 1", r'line 1: "\.\./0" is no video'),
        ("1, 1, A/.., B/1, 1", r'line 1: "A/\.\." is no video'),
        ("1, 1, A/0, B\\c/1, 1", "line 1: .* is no video"),
        ("1, 1, A/0, B/1, 1\n1, 2, A/0, B/1, 1\n2, 1, A/0, B/1, 1", "split 2 holds 1 pairs, split 1 2; the file was"),
    ],
)
def test_malformed_lists(tmp_path, text, message):
    path = tmp_path / "splits.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"splits\.txt(, |: ){message}"):
        read_splits(path)


@pytest.mark.realdata
def test_the_real_list(faces_data):
    read = read_ytf(faces_data / "ytf")
    pairs = read.pairs
    assert len(pairs.same) == 5000 and len(pairs.videos) <= 3425
    for split in range(1, 11):
        assert pairs.same[pairs.fold == split].sum() == 250 and (pairs.fold == split).sum() == 500
    whole = np.array([len(frames) > 0 for frames in read.frames])
    assert whole.sum() == 1135
    complete = whole[pairs.first] & whole[pairs.second]
    assert (complete & pairs.same).sum() == 1150 and (complete & ~pairs.same).sum() == 276
