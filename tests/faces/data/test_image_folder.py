"""Image folders: order, labels, what is passed over, odd names."""

import os

import numpy as np
import pytest

from faces.data.image_folder import FolderSource
from faces.errors import DataError, ImageError
from tests.faces.data.makers import encoded, image_folder, picture

PICTURES = [picture(seed) for seed in range(6)]
FILES = [encoded(pixels) for pixels in PICTURES]


def test_labels_follow_names_and_images_follow_theirs(tmp_path):
    image_folder(tmp_path, {"zoe": FILES[:2], "Ann": FILES[2:3], "bob": FILES[3:5]})
    source = FolderSource(tmp_path)
    assert source.identity_names == ["Ann", "bob", "zoe"]
    assert source.identities.tolist() == [0, 1, 1, 2, 2]
    assert source.identities.dtype == np.int32
    assert [source.source_name(i) for i in (0, 1, 4)] == ["Ann/Ann_0001.png", "bob/bob_0001.png", "zoe/zoe_0002.png"]
    for index, expected in enumerate([2, 3, 4, 0, 1]):
        np.testing.assert_array_equal(source[index], PICTURES[expected])
        assert source.encoded(index) == FILES[expected]
    assert source.ignored == {}


def test_names_with_spaces_and_other_letters(tmp_path):
    names = ["Anna Müller", "Борис", "山田 太郎", "O'Brien; (1)"]
    image_folder(tmp_path, {name: FILES[i : i + 1] for i, name in enumerate(names)})
    source = FolderSource(tmp_path)
    assert source.identity_names == sorted(names)
    for index, name in enumerate(sorted(names)):
        np.testing.assert_array_equal(source[index], PICTURES[names.index(name)])


def test_a_name_that_is_no_utf8_is_read_and_shown_escaped(tmp_path):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)  # noqa: PTH102, a Path cannot be made of bytes
    with open(folder + b"/\xff.png", "wb") as file:  # noqa: PTH123
        file.write(FILES[0])
    source = FolderSource(tmp_path)
    assert source.identity_names == ["caf\\xe9"]
    assert source.source_name(0) == "caf\\xe9/\\xff.png"
    np.testing.assert_array_equal(source[0], PICTURES[0])


def test_everything_else_is_ignored_and_listed(tmp_path):
    image_folder(tmp_path, {"ann": FILES[:1]})
    (tmp_path / "ann" / "notes.txt").write_text("x")
    (tmp_path / "ann" / "._ann_0001.png").write_bytes(b"resource fork")
    (tmp_path / "ann" / "deeper").mkdir()
    (tmp_path / "ann" / "folder.jpg").mkdir()
    (tmp_path / "ann" / "UPPER.JPG").write_bytes(FILES[1])
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "loose.jpg").write_bytes(FILES[0])
    (tmp_path / "ann" / "raw.CR2").write_bytes(b"II*\0\x10\0\0\0CR")
    (tmp_path / "ann" / "unnamed").write_bytes(FILES[2])
    source = FolderSource(tmp_path)
    assert [source.source_name(i) for i in range(len(source))] == ["ann/UPPER.JPG", "ann/ann_0001.png", "ann/unnamed"]
    assert source.ignored == {
        ".hidden/": "hidden, by a dot before the name",
        "ann/._ann_0001.png": "hidden, by a dot before the name",
        "ann/deeper/": "a folder inside a person's folder",
        "ann/folder.jpg/": "a folder inside a person's folder",
        "ann/notes.txt": "text, no picture",
        "ann/raw.CR2": "a raw camera file; export it as JPEG or TIFF",
        "empty/": "a folder without a photograph",
        "loose.jpg": "a photograph that is in no person's folder",
    }


def test_a_linked_folder_is_a_person_and_one_folder_is_one_person(tmp_path):
    root = tmp_path / "people"
    image_folder(root, {"zoe": FILES[:2]})
    image_folder(tmp_path / "elsewhere", {"bob": FILES[2:4]})
    (root / "bob").symlink_to(tmp_path / "elsewhere" / "bob")
    (root / "ann").symlink_to(root / "zoe")  # sorts first, and is zoe all the same
    (root / "carl").symlink_to(tmp_path / "elsewhere" / "bob")
    (root / "loop").symlink_to(root)
    (root / "above").symlink_to(tmp_path)
    (root / "gone").symlink_to(tmp_path / "nothing")
    (root / "zoe" / "linked.png").symlink_to(tmp_path / "elsewhere" / "bob" / "bob_0001.png")
    source = FolderSource(root)
    assert source.identity_names == ["bob", "zoe"] and source.identities.tolist() == [0, 0, 1, 1, 1]
    assert source.ignored == {
        "above/": "a link to a folder around it",
        "ann/": "a link to a folder that is looked into already (zoe)",
        "carl/": "a link to a folder that is looked into already (bob)",
        "gone": "a link to nothing",
        "loop/": "a link to a folder around it",
    }


def test_folders_without_images(tmp_path):
    with pytest.raises(DataError, match="no image found; a folder for each person"):
        FolderSource(tmp_path)
    (tmp_path / "ann").mkdir()
    with pytest.raises(DataError, match="no image found"):
        FolderSource(tmp_path)
    with pytest.raises(DataError, match=r"absent: no such folder"):
        FolderSource(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file: cannot be read as a folder"):
        FolderSource(tmp_path / "file")


def test_unreadable_images_are_named_when_read(tmp_path):
    image_folder(tmp_path, {"ann": [FILES[0][:30], FILES[1]]})
    source = FolderSource(tmp_path)
    with pytest.raises(ImageError, match=r"ann/ann_0001\.png: "):
        source[0]
    (tmp_path / "ann" / "ann_0002.png").unlink()
    with pytest.raises(ImageError, match=r"ann/ann_0002\.png: cannot be read \(No such file"):
        source[1]
