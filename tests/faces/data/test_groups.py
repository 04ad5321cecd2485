"""Tables of labels: what is read, and one sentence on what is none."""

from pathlib import Path

import numpy as np
import pytest

from faces.data.groups import labels_of, read_groups
from faces.errors import DataError


def write(folder: Path, text: str) -> Path:
    path = folder / "groups.csv"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_each_column_beside_the_images_is_a_factor(tmp_path: Path, between: str):
    text = "site,image,age\r\nnorth,a/1.jpg,\r\n\r\nsouth,b.jpg,old\r\n".replace(",", between)
    labels = read_groups(write(tmp_path, "\ufeff" + text))
    assert labels == {"site": {"a/1.jpg": "north", "b.jpg": "south"}, "age": {"b.jpg": "old"}}
    np.testing.assert_array_equal(labels_of(["b.jpg", "c.jpg", "a/1.jpg"], labels["site"]), ["south", "", "north"])


def test_a_cell_in_quotes(tmp_path: Path):
    assert read_groups(write(tmp_path, 'image,group\n"a, b.jpg","x ""y"""\n')) == {"group": {"a, b.jpg": 'x "y"'}}


@pytest.mark.parametrize(("text", "words"), [
    ("", r"line 1: the names of columns are expected"),
    ("name,group\na,b\n", r"line 1: the names of columns .*'name,group' found"),
    ("image\na\n", r"line 1: .*at least one of labels"),
    ("image,g,g\na,b,c\n", r"line 1: .*each once"),
    ("image,\na,b\n", r"line 1"),
    ("image,group\n", r"has no line below its head"),
    ("image,group\na,b\nc\n", r"line 3: 2 cells expected, as in line 1, 1 found"),
    ("image,group\na,b,c\n", r"line 2: 2 cells expected, as in line 1, 3 found"),
    ("image,group\n,b\n", r"line 2: the image is missing"),
    ("image,group\na,b\n\na,c\n", r"line 4: a stands in line 2 too"),
    ('image,group\n"a"x,b\n', r"line 2: no line of a table"),
])  # fmt: skip
def test_what_is_no_table_of_labels(tmp_path: Path, text: str, words: str):
    with pytest.raises(DataError, match=rf"groups\.csv.*{words}"):
        read_groups(write(tmp_path, text))


def test_a_table_that_is_not_there(tmp_path: Path):
    with pytest.raises(DataError, match=r"absent\.csv"):
        read_groups(tmp_path / "absent.csv")
