"""People and images that a list leaves out of a set."""

from pathlib import Path

import numpy as np
import pytest

from faces.data.image_folder import FolderSource
from faces.data.left_out import read_left_out, without
from faces.data.prepared import EncodedSource
from faces.errors import DataError
from tests.faces.data.makers import encoded, image_folder, picture

NAMES = ("Ann", "Bob_Bee", "José, J.", "Zoë")


@pytest.fixture
def source(tmp_path: Path) -> EncodedSource:
    return FolderSource(image_folder(tmp_path / "in", {name: [encoded(picture(1))] * 2 for name in NAMES}))


def listed(tmp_path: Path, text: str):
    (tmp_path / "list.csv").write_text(text, "utf-8")
    return read_left_out(tmp_path / "list.csv")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("person,of_other,centre_cosine\nAnn,x,0.5\nAnn,y,0.4\nZoë,z,0.1\n", ["Bob_Bee", "José, J."]),
        ('of_other,person\nx,"José, J."\n\n , \n', ["Ann", "Bob_Bee", "Zoë"]),
        ("\ufeffperson;of_other\nann;x\n", ["Bob_Bee", "José, J.", "Zoë"]),
        ("of_other\tperson\nx\tZoe\u0308\n", ["Ann", "Bob_Bee", "José, J."]),
        ("José, J.\n\n  Bob_Bee \n", ["Ann", "Zoë"]),
    ],
)
def test_people(source, tmp_path, text, left):
    found = listed(tmp_path, text)
    stay = without(source, [found])
    assert found.of == "people" and stay.people == 4 - len(left) and stay.images == 2 * stay.people
    assert [source.identity_names[label] for label in np.unique(source.identities[stay.rows])] == left


@pytest.mark.parametrize("head", ["image", "source,reason", "kind;source"])
def test_images(source, tmp_path, head):
    names = [source.source_name(row) for row in (0, 1, 5)]
    lines = [f"x;{name}" if ";" in head else f'"{name}",why' for name in names]
    stay = without(source, [listed(tmp_path, "\n".join([head, *lines]))])
    assert stay.rows.tolist() == [2, 3, 4, 6, 7] and (stay.people, stay.images) == (1, 3)


def test_several_lists_and_several_sets(source, tmp_path):
    people, images = listed(tmp_path, "Ann\n"), None
    (tmp_path / "images.csv").write_text(f"image\n{source.source_name(7)}\n")
    images = read_left_out(tmp_path / "images.csv")
    assert without(source, [people, images]).rows.tolist() == [2, 3, 4, 5, 6]
    both = without(source, [listed(tmp_path, "Kim\n")], own_names=["Kim", "Lee", "Kim", "Pat"])
    assert both.rows.tolist() == [2, 3, 6, 7] and both.people == 2
    one = without(source, [listed(tmp_path, "Zoë\n")], own_names=["Kim", "Lee", "Kim", "Pat"])
    assert one.people == 1
    with pytest.raises(DataError, match=r'line 1: "7" is a number that several sets have; .* Ann or José'):
        without(source, [listed(tmp_path, "7\n")], own_names=["7", "8", "7", "9"])
    assert without(source, [listed(tmp_path, "8\n")], own_names=["7", "8", "7", "9"]).people == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Ann\nBob_Be\n", r'list\.csv, line 2: "Bob_Be" is nobody in .*in; did you mean "Bob_Bee"\? Correct or remove'),
        ("qqq\nrrr\nsss\n", r'line 1: "qqq" is nobody in .*; correct or remove the line\. 2 other names'),
        ("image\nAnn\n", r'line 2: "Ann" is no image of'),
        ("a,person\nx\n", "line 2: the name is missing"),
        ("a,person\nx,  \n", "line 2: the name is missing"),
        ("person\n", "names nobody"),
        ("", "names nobody"),
        ("Ann\nBob_Bee\nJosé, J.\nZoë\n", "of its 8 images none is left"),
    ],
)
def test_refused(source, tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        without(source, [listed(tmp_path, text)])


def test_no_list(tmp_path):
    with pytest.raises(DataError, match="is a folder; a list"):
        read_left_out(tmp_path)
