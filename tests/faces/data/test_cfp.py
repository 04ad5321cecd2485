"""CFP's Protocol folder: both protocols, malformed lists."""

import numpy as np
import pytest

from faces.data.cfp import read_cfp
from faces.errors import DataError
from tests.faces.data.makers import picture
from tests.faces.data.pair_makers import FRONTAL, PROFILES, cfp


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("protocol", ["FF", "FP"])
def test_pairs_of_both_protocols(tmp_path, protocol, end):
    expected = cfp(tmp_path / "cfp", end)[protocol]
    folder = read_cfp(tmp_path / "cfp", protocol)
    second, others = ("frontal", FRONTAL) if protocol == "FF" else ("profile", PROFILES)
    read = zip(folder.pairs.folds, folder.pairs.same, folder.pairs.first, folder.pairs.second, strict=True)
    assert [(fold, same, a, b) for fold, same, a, b in read] == [
        (
            fold,
            same,
            f"Data/Images/{(a - 1) // FRONTAL + 1:03d}/frontal/{(a - 1) % FRONTAL + 1:02d}.jpg",
            f"Data/Images/{(b - 1) // others + 1:03d}/{second}/{(b - 1) % others + 1:02d}.jpg",
        )
        for fold, same, a, b in expected
    ]
    assert folder.remark == "" and folder.missing == ()
    assert folder.pairs.folds.dtype == np.int32 and folder.pairs.same.dtype == bool
    for row in (0, 17):
        a, b = expected[row][2:]
        np.testing.assert_array_equal(folder.load(folder.pairs.first[row]), picture(a - 1))
        np.testing.assert_array_equal(folder.load(folder.pairs.second[row]), picture(b - 1 + 100 * (protocol == "FP")))


def test_missing_images(tmp_path):
    cfp(tmp_path)
    (tmp_path / "Data" / "Images" / "002" / "profile" / "01.jpg").unlink()
    assert read_cfp(tmp_path, "FF").missing == ()
    assert read_cfp(tmp_path, "FP").missing == ("Data/Images/002/profile/01.jpg",)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("Pair_list_F.txt", "2 ../Data/a.jpg", r'line 1: "1 PATH" expected, found "2 \.\./Data/a\.jpg"'),
        ("Pair_list_F.txt", "1 a.jpg\n1 b.jpg", 'line 2: "2 PATH" expected'),
        ("Pair_list_F.txt", "1", 'line 1: "1 PATH" expected'),
        ("Pair_list_F.txt", "1 ../../etc/passwd", "line 1: .* is no path inside the folder of the set"),
        ("Pair_list_F.txt", "1 ../Data/../../x.jpg", "line 1: .* is no path inside"),
        ("Pair_list_F.txt", "1 /etc/passwd", "line 1: .* is no path inside"),
        ("Pair_list_F.txt", "1 ..\\x.jpg", "line 1: .* is no path inside"),
        ("Pair_list_P.txt", None, "cannot be read"),
        ("Split/FP/03/diff.txt", None, "cannot be read"),
        ("Split/FP/03/diff.txt", "1,2", r"1 pairs, but Split/FP/01/same\.txt holds 2"),
        ("Split/FP/01/same.txt", "", r"0 pairs, but"),
        ("Split/FP/03/diff.txt", "1,2\n1;2", 'line 2: two numbers "a,b" expected, found "1;2"'),
        ("Split/FP/03/diff.txt", "1,2,3\n1,2", "line 1: two numbers"),
        ("Split/FP/03/diff.txt", "1,2\n0,1", "line 2: there is no image 0; the list numbers 1 to 12"),
        ("Split/FP/03/diff.txt", "1,2\n1,9", "line 2: there is no image 9; the list numbers 1 to 8"),
        ("Split/FP/03/diff.txt", "1,2\n13,1", "line 2: there is no image 13; the list numbers 1 to 12"),
    ],
)
def test_malformed_protocols(tmp_path, file, text, message):
    cfp(tmp_path)
    path = tmp_path / "Protocol" / file
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(DataError, match=rf"{file}(, |: ){message}"):
        read_cfp(tmp_path, "FP")
