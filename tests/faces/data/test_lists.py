"""What lies where a list is expected: each wrong thing is one sentence that says what it is."""

import os
from pathlib import Path

import pytest

from faces.data.lfw import read_pairs
from faces.data.lists import check_list, read_lines
from faces.errors import DataError
from tests.faces.data.makers import encoded, picture


def test_lines_with_their_numbers(tmp_path: Path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\r\n  two\t2 \r\n")
    assert read_lines(path) == [(1, "one"), (3, "two\t2")]


@pytest.mark.parametrize("read", [read_lines, read_pairs, check_list])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\n\n<!doctype html>\n<html>", "is a web page, not a list; download the file itself"),
        (b"<?xml version='1.0'?><HTML>", "is a web page"),
        (encoded(picture(0)), "is a PNG picture; a list, a text file, is expected"),
        (b"PK\x03\x04\0\0", "is a zip archive; unpack it; a list"),
        ("10\t300\n".encode("utf-16"), "is text in UTF-16; save it as UTF-8"),
    ],
)
def test_other_files_are_called_what_they_are(tmp_path: Path, content: bytes, words: str, read):
    (tmp_path / "pairs.txt").write_bytes(content)
    with pytest.raises(DataError, match=rf"pairs\.txt: {words}"):
        read(tmp_path / "pairs.txt")


def test_what_is_no_file(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    told = {"": "is a folder; a list", "pipe": r"be read \(a named pipe", "none": r"be read \(No such file"}
    for name, words in told.items():
        with pytest.raises(DataError, match=words):
            read_lines(tmp_path / name)
