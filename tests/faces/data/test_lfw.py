"""LFW's pair lists and layout."""

from unicodedata import normalize

import numpy as np
import pytest

from faces.data.image_folder import FolderSource
from faces.data.lfw import read_lfw, read_pairs
from faces.data.open import open_source
from faces.data.preparing import write_prepared
from faces.errors import DataError
from tests.faces.data.makers import encoded, image_folder, picture

LINES = [
    "2\t1",
    "Ann_Bo\t1\t3",
    "Ann_Bo\t1\tCy\t12",
    "Dé_Ö\t2\t4",
    "Cy\t1\tAnn_Bo\t10000",
]


def pair_file(path, lines, end="\n"):
    path.write_bytes((end.join(lines) + end).encode())
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_pairs_in_their_folds(tmp_path, end):
    pairs = read_pairs(pair_file(tmp_path / "pairs.txt", [*LINES, ""], end))
    assert pairs.folds.tolist() == [0, 0, 1, 1]
    assert pairs.folds.dtype == np.int32
    assert pairs.same.tolist() == [True, False, True, False]
    assert pairs.first == ("Ann_Bo/Ann_Bo_0001.jpg", "Ann_Bo/Ann_Bo_0001.jpg", "Dé_Ö/Dé_Ö_0002.jpg", "Cy/Cy_0001.jpg")
    assert pairs.second == ("Ann_Bo/Ann_Bo_0003.jpg", "Cy/Cy_0012.jpg", "Dé_Ö/Dé_Ö_0004.jpg", "Ann_Bo/Ann_Bo_10000.jpg")


def test_one_number_is_a_single_fold(tmp_path):
    pairs = read_pairs(pair_file(tmp_path / "x.txt", ["2", "A\t1\t2", "B\t1\t2", "A\t1\tB\t1", "A\t2\tB\t2"]))
    assert pairs.folds.tolist() == [0] * 4
    assert pairs.same.tolist() == [True, True, False, False]


def broken(number, line):
    return [*LINES[: number - 1], line, *LINES[number:]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (broken(3, "Colin\t12"), r'line 3: 3 or 4 tab-separated fields expected, 2 found \("Colin<TAB>12"\)'),
        (broken(2, "A 1 2"), "line 2: 3 or 4 tab-separated fields expected, 1 found"),
        (broken(2, "A\t1\tB\t2\t3"), "line 2: .* 5 found"),
        (broken(4, "A\t1\tx"), r'line 4: "x" is not the number of an image'),
        (broken(4, "A\t0\t1"), r'line 4: "0" is not the number'),
        (broken(4, "A\t-1\t1"), r'line 4: "-1" is not the number'),
        (broken(4, "A\t٣\t1"), r"line 4: .* is not the number"),
        (broken(2, "..\t1\t2"), r'line 2: "\.\." is no person\'s name'),
        (broken(2, "../etc\t1\t2"), r"line 2: .* is no person's name"),
        (broken(3, "A\t1\tC:\\x\t2"), r"line 3: .* is no person's name"),
        (broken(3, "A\t1\t\t2"), r"line 3: .* is no person's name"),
        (broken(2, "A\t1\tB\t2"), r"lines 2 to 3: fold 1 should hold 1 pairs of one person .* 0 of one person found"),
        (LINES[:-1], r"line 1: promises 2 x 2 x 1 = 4 pairs, 3 found"),
        ([*LINES, LINES[1]], "line 1: .* 4 pairs, 5 found"),
        (["ten\t300", *LINES[1:]], r'line 1: .* found "ten 300"'),
        (["0\t300"], "line 1: the number of folds"),
        (["1\t2\t3"], "line 1: the number of folds"),
        ([""], "line 1: the number of folds"),
        (["999999999\t999999999", *LINES[1:]], "line 1: .* pairs, 4 found"),
    ],
)
def test_a_broken_line_is_named(tmp_path, lines, message):
    with pytest.raises(DataError, match=r"pairs\.txt, " + message):
        read_pairs(pair_file(tmp_path / "pairs.txt", lines))


def test_unreadable_lists(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_pairs(tmp_path / "absent.txt")
    (tmp_path / "x.txt").write_bytes(b"10\t300\n\xff\xfe")
    with pytest.raises(DataError, match="byte 7: not UTF-8 text"):
        read_pairs(tmp_path / "x.txt")
    (tmp_path / "x.txt").write_bytes(b"")
    with pytest.raises(DataError, match="line 1: the number of folds"):
        read_pairs(tmp_path / "x.txt")


PICTURES = {person: [picture(10 * i + j) for j in range(2)] for i, person in enumerate(["A", "B"])}
LIST = ["1\t2", "A\t1\t2", "B\t1\t2", "A\t1\tB\t1", "A\t2\tC\t1"]


def lay_out(root, extension=".png"):
    files = {person: [encoded(pixels, extension) for pixels in pictures] for person, pictures in PICTURES.items()}
    return image_folder(root, files, extension)


@pytest.mark.parametrize(("images", "listed", "opened"), [
    ("lfw/lfw-deepfunneled", "lfw/pairs.txt", "lfw"),
    ("x/LFW", "x/pairs.txt", "x"),
    ("lfw", "lfw/pairs.txt", "lfw"),
    ("lfw-deepfunneled", "pairs.txt", "lfw-deepfunneled"),
])  # fmt: skip
def test_layouts_of_raw_images(tmp_path, images, listed, opened):
    lay_out(tmp_path / images)
    pair_file(tmp_path / listed, LIST)
    lfw = read_lfw(tmp_path / opened)
    assert lfw.missing == ("C/C_0001.jpg",)
    np.testing.assert_array_equal(lfw.load("B/B_0002.jpg"), PICTURES["B"][1])
    with pytest.raises(DataError, match=r"C/C_0001\.jpg is missing"):
        lfw.load("C/C_0001.jpg")


def test_names_with_a_dot_are_not_shortened(tmp_path):
    image_folder(tmp_path, {"A.B": [encoded(PICTURES["A"][0])], "A.C": [encoded(PICTURES["A"][1])]})
    pair_file(tmp_path / "pairs.txt", ["1\t1", "A.B\t1\t1", "A.B\t1\tA.C\t1"])
    lfw = read_lfw(tmp_path)
    assert lfw.missing == ()
    np.testing.assert_array_equal(lfw.load(lfw.pairs.second[1]), PICTURES["A"][1])


def test_two_files_that_could_be_one_picture_of_the_list(tmp_path):
    lay_out(tmp_path / "lfw")
    pair_file(tmp_path / "lfw" / "pairs.txt", LIST)
    (tmp_path / "lfw" / "A" / "A_0003.png").write_bytes(encoded(PICTURES["A"][0]))
    (tmp_path / "lfw" / "A" / "A_0003.jpg").write_bytes(encoded(PICTURES["A"][0]))  # the list does not ask for it
    assert read_lfw(tmp_path / "lfw").missing == ("C/C_0001.jpg",)
    (tmp_path / "lfw" / "B" / "B_0002.JPG").write_bytes(encoded(PICTURES["B"][0]))
    with pytest.raises(DataError, match=r"B/B_0002\.JPG and B/B_0002\.png could both be B/B_0002\.jpg .*; remove one"):
        read_lfw(tmp_path / "lfw")
    write_prepared(FolderSource(tmp_path / "lfw"), tmp_path / "out", pair_lists=[tmp_path / "lfw" / "pairs.txt"])
    with pytest.raises(DataError, match="could both be"):
        read_lfw(tmp_path / "out")


def test_names_in_another_form_or_case(tmp_path):
    person = normalize("NFD", "Éva_Ö")
    image_folder(tmp_path / "lfw", {person: [encoded(PICTURES["A"][0])], "bo": [encoded(PICTURES["B"][0])]})
    pair_file(tmp_path / "lfw" / "pairs.txt", ["1\t1", "Éva_Ö\t1\t1", "Éva_Ö\t1\tBo\t1"])
    lfw = read_lfw(tmp_path / "lfw")
    assert lfw.missing == ()
    np.testing.assert_array_equal(lfw.load(lfw.pairs.first[0]), PICTURES["A"][0])
    np.testing.assert_array_equal(lfw.load("Bo/Bo_0001.jpg"), PICTURES["B"][0])
    image_folder(tmp_path / "lfw", {"BO": [encoded(PICTURES["B"][1])]})
    with pytest.raises(DataError, match=r"'BO/BO_0001' and 'bo/bo_0001' could both be \"Bo/Bo_0001\""):
        read_lfw(tmp_path / "lfw")


def test_a_folder_or_a_web_page_in_place_of_the_list(tmp_path):
    lay_out(tmp_path / "lfw")
    (tmp_path / "lfw" / "pairs.txt").mkdir()
    with pytest.raises(DataError, match=r"pairs\.txt: is a folder; a list"):
        read_lfw(tmp_path / "lfw")
    with pytest.raises(DataError, match=r"pairs\.txt: is a folder; a list"):
        open_source(tmp_path / "lfw")
    (tmp_path / "lfw" / "pairs.txt").rmdir()
    (tmp_path / "lfw" / "pairs.txt").write_text("\n<html><title>404</title>")
    with pytest.raises(DataError, match=r"pairs\.txt: is a web page"):
        read_lfw(tmp_path / "lfw")


def test_no_list_and_two_image_folders(tmp_path):
    lay_out(tmp_path / "x" / "lfw-one")
    with pytest.raises(DataError, match=r"pairs\.txt is neither in it nor beside it"):
        read_lfw(tmp_path / "x")
    pair_file(tmp_path / "x" / "pairs.txt", LIST)
    lay_out(tmp_path / "x" / "lfw-two")
    with pytest.raises(DataError, match=r"several folders could hold the images \(lfw-one, lfw-two\)"):
        read_lfw(tmp_path / "x")


@pytest.mark.realdata
def test_real_lists(faces_data):
    lfw = read_lfw(faces_data / "lfw")
    assert lfw.missing == ()
    assert len(lfw.source) == 7701
    assert np.bincount(lfw.pairs.folds).tolist() == [600] * 10
    assert lfw.pairs.same.sum() == 3000
    assert lfw.load(lfw.pairs.first[0]).shape == (250, 250, 3)
    for name, count in [("pairsDevTrain.txt", 2200), ("pairsDevTest.txt", 1000)]:
        pairs = read_pairs(faces_data / "lfw" / name)
        assert len(pairs.same) == count
        assert pairs.same.sum() == count // 2
        assert set(pairs.folds.tolist()) == {0}
