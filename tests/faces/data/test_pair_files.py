"""The two-line lists of CALFW and CPLFW, and folds for lists that state none."""

import numpy as np
import pytest

from faces.data.pair_files import find_list, read_pair_files, ten_folds
from faces.errors import DataError
from tests.faces.data.makers import encoded, picture
from tests.faces.data.pair_makers import CALFW, two_line_list


def test_calfw_in_which_pairs_of_one_person_come_first(tmp_path):
    first, second = two_line_list(tmp_path / "pairs_CALFW.txt", CALFW)
    folder = read_pair_files(tmp_path / "pairs_CALFW.txt")
    assert (folder.pairs.first, folder.pairs.second) == (first, second)
    assert folder.pairs.same.tolist() == [True] * 30 + [False] * 30
    assert folder.pairs.folds[:30].tolist() == [token - 1 for token in CALFW[:30]]
    assert folder.pairs.folds[30:].tolist() == folder.pairs.folds[:30].tolist()
    assert folder.remark.startswith("folds of our own, not the official ones")


def test_cplfw_in_which_the_kinds_alternate(tmp_path):
    two_line_list(tmp_path / "pairs_CPLFW.txt", [1, 1, 0, 0] * 10)
    folder = read_pair_files(tmp_path / "pairs_CPLFW.txt")
    assert folder.pairs.folds.tolist() == np.repeat(np.arange(10), 4).tolist()
    assert folder.remark == ""


@pytest.mark.parametrize("inner", ["aligned images", "images", "."])
def test_images_and_missing_ones(tmp_path, inner):
    first, second = two_line_list(tmp_path / "pairs_CPLFW.txt", [1, 0] * 10)
    (tmp_path / inner).mkdir(exist_ok=True)
    for number, name in enumerate(first):
        (tmp_path / inner / name).write_bytes(encoded(picture(number)))
    folder = read_pair_files(tmp_path / "pairs_CPLFW.txt")
    assert folder.missing == tuple(sorted(second))
    np.testing.assert_array_equal(folder.load(first[3]), picture(3))
    with pytest.raises(DataError, match=r"B-C_0003\.jpg: cannot be read"):
        folder.load(second[3])


def test_names_in_another_form_or_case(tmp_path):
    first, second = two_line_list(tmp_path / "pairs_CPLFW.txt", [1, 0] * 10)
    for number, name in enumerate([*first, *second]):
        (tmp_path / name.upper()).write_bytes(encoded(picture(number)))
    folder = read_pair_files(tmp_path / "pairs_CPLFW.txt")
    assert folder.missing == ()
    np.testing.assert_array_equal(folder.load(first[3]), picture(3))
    (tmp_path / first[3].lower()).write_bytes(b"")
    with pytest.raises(DataError, match="could both be"):
        folder.__class__(folder.root, folder.pairs).load(first[3].swapcase())


def test_find_list(tmp_path):
    assert find_list(tmp_path) is None
    two_line_list(tmp_path / "pairs_CPLFW.txt", [1])
    assert find_list(tmp_path) == tmp_path / "pairs_CPLFW.txt"
    two_line_list(tmp_path / "pairs_CALFW.txt", [1])
    with pytest.raises(DataError, match="are both in it"):
        find_list(tmp_path)


@pytest.mark.parametrize(
    ("number", "line", "message"),
    [
        (3, "A_0001.jpg", r'line 3: "NAME\.jpg 0" or "NAME\.jpg 1" expected, found "A_0001\.jpg"'),
        (3, "A_0001.jpg B_0001.jpg 1", "line 3: "),
        (3, "A_0001.jpg -1", "line 3: "),
        (3, "A_0001.jpg yes", "line 3: "),
        (3, "../A_0001.jpg 1", "line 3: .* would leave the folder"),
        (3, ".. 1", "line 3: .* would leave the folder"),
        (4, "A_0001.jpg 1", "line 4: 1 here and 0 one line above"),
        (3, "", "39 lines, but two make a pair"),
    ],
)
def test_malformed_lists(tmp_path, number, line, message):
    path = tmp_path / "pairs_CPLFW.txt"
    two_line_list(path, [1, 0] * 10)
    lines = path.read_text().splitlines()
    lines[number - 1] = line
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=rf"pairs_CPLFW\.txt(, |: ){message}"):
        read_pair_files(path)


def test_unreadable_lists(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_pair_files(tmp_path / "absent.txt")
    (tmp_path / "x.txt").write_bytes(b"A.jpg 1\n\xff")
    with pytest.raises(DataError, match=r"x\.txt, byte 8: not UTF-8"):
        read_pair_files(tmp_path / "x.txt")


@pytest.mark.parametrize("seed", range(3))
def test_ten_folds_of_uneven_lists(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(10, 40, 2)
    same = np.repeat([True, False], sizes)
    fold, remark = ten_folds(same, "x")
    assert remark
    for kind in (True, False):
        assert (np.diff(fold[same == kind]) >= 0).all()  # runs in the order of the list
        counts = np.bincount(fold[same == kind], minlength=10)
        assert counts.max() - counts.min() <= 1
    # As many pairs in each contiguous tenth as KFold gives, the first ones one more.
    alternating = np.tile([True, False], 100)[: 2 * int(sizes.sum())]
    fold, remark = ten_folds(alternating, "x")
    quotient, rest = divmod(len(alternating), 10)
    assert np.bincount(fold).tolist() == [quotient + (number < rest) for number in range(10)]
    assert remark == "" and (np.diff(fold) >= 0).all()
