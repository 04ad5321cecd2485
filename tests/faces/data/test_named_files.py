"""Names that a file system spells otherwise than a list, and names that several files could have."""

import unicodedata
from pathlib import Path

import pytest

from faces.data.named_files import NamedFiles, Names
from faces.errors import DataError

COMPOSED = "José Müller"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


def test_the_name_as_written_comes_first_then_the_only_one_alike():
    names = Names([DECOMPOSED, "Ann", "ANN", "bob.JPG"], "place")
    assert names.find(COMPOSED) == names.find(COMPOSED.upper()) == DECOMPOSED
    assert (names.find("Ann"), names.find("ANN"), names.find("bob.jpg")) == ("Ann", "ANN", "bob.JPG")
    assert names.find("bob.png") is None
    with pytest.raises(DataError, match=r"place: 'ANN' and 'Ann' could both be \"ann\".*rename one"):
        names.find("ann")


def test_each_part_of_a_path_is_looked_up(tmp_path: Path):
    folder = tmp_path / DECOMPOSED / "0"
    folder.mkdir(parents=True)
    (folder / "É.jpg").write_bytes(b"")
    files = NamedFiles(tmp_path)
    wanted = f"{COMPOSED}/0/{unicodedata.normalize('NFD', 'é')}.JPG"
    assert files.file(wanted) == folder / "É.jpg"
    assert files.find(f"{COMPOSED}/0") == folder and files.file(f"{COMPOSED}/0") is None
    assert files.find(f"{COMPOSED}/1/a.jpg") is None and files.find(f"{COMPOSED}/0/É.jpg/x") is None
