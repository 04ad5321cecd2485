"""Which files of a folder are photographs, and that everything else is named with a reason."""

import os
import socket
from pathlib import Path

import pytest

from faces.data import photographs
from faces.data.photographs import find_photographs
from faces.errors import DataError
from tests.faces.data.makers import encoded, picture

PNG = encoded(picture(0))
JPEG = encoded(picture(0), ".jpg")


def write(root: Path, *names: str, data: bytes = PNG) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def found(root: Path, *places: Path) -> tuple[list[str], dict[str, str]]:
    """Photographs and what was passed over, relative to `root`; of a reason the part before a semicolon."""
    there = find_photographs(places or [root])
    short = {name.removeprefix(f"{root}/"): reason.split(";")[0] for name, reason in there.passed_over.items()}
    return [str(file.relative_to(root)) for file in there.files], short


def test_names_and_first_bytes_make_a_photograph(tmp_path: Path):
    names = ["a.HEIC", "a.JPG", "a.avif", "a.jp2", "a.tif", "b/c/a.ppm"]
    write(tmp_path, *names)
    write(tmp_path, "b/unnamed", "b/x.bak", data=JPEG)
    write(tmp_path, "b/x.dng", data=b"II*\0" + bytes(60))
    write(tmp_path, "b/x.mov", data=b"\0\0\0\x14ftypqt  ")
    write(tmp_path, "b/x.psd", "b/y", data=b"8BPS")
    write(tmp_path, "b/x.json", data=b'{"a": 1}')
    write(tmp_path, "b/x", data=b"")
    assert found(tmp_path) == (
        [*names[:5], "b/c/a.ppm", "b/unnamed", "b/x.bak"],
        {
            "b/x": "empty, no picture",
            "b/x.dng": "a raw camera file",
            "b/x.json": "text, no picture",
            "b/x.mov": "a video",
            "b/x.psd": "a picture of a format that is not read here",
            "b/y": "a Photoshop file",
        },
    )


def test_what_is_hidden_is_passed_over_unless_it_is_named(tmp_path: Path):
    write(tmp_path, "a.png", ".thumbnails/a.png", "@eaDir/a.png", "__MACOSX/._a.png", "._a.png")
    hidden, system = "hidden, by a dot before the name", "kept by a system or program beside pictures"
    assert found(tmp_path) == (
        ["a.png"],
        {"._a.png": hidden, ".thumbnails/": hidden, "@eaDir/": system, "__MACOSX/": system},
    )
    assert found(tmp_path, tmp_path / ".thumbnails", tmp_path / "._a.png")[0] == ["._a.png", ".thumbnails/a.png"]


def test_links_are_followed_once_and_never_round(tmp_path: Path):
    root, away = tmp_path / "in", tmp_path / "away"
    write(root, "z/1.png", "z/deep/2.png")
    write(away, "3.png", "more/4.png")
    (root / "a").symlink_to(root / "z")  # comes first, and z keeps its name
    (root / "m").symlink_to(away)
    (root / "n").symlink_to(away / "more")
    (root / "z" / "deep" / "up").symlink_to(root)
    (away / "back").symlink_to(root / "z")
    (away / "self").symlink_to(away)
    (root / "one.png").symlink_to(away / "3.png")
    (root / "gone").symlink_to(away / "5.png")
    (root / "loop").symlink_to(root / "loop")
    names, passed_over = found(root)
    assert names == ["m/3.png", "m/more/4.png", "one.png", "z/1.png", "z/deep/2.png"]
    already = "a link to a folder that is looked into already"
    assert {name: why.split(" (")[0] for name, why in passed_over.items()} == {
        "a/": already,
        "gone": "a link to nothing",
        "loop": "cannot be read" if "cannot" in passed_over["loop"] else "a link to nothing",
        "m/back/": already,
        "m/self/": already,
        "n/": already,
        "z/deep/up/": already,
    }
    assert found(root, root / "z", root, root / "z" / "1.png")[0] == names  # nothing counts twice
    (root / "z" / "above").symlink_to(tmp_path)
    assert found(root)[1]["z/above/"] == "a link to a folder around it"


def test_pipes_and_sockets_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, "a.png")
    os.mkfifo(tmp_path / "pipe.jpg")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jpg")
        assert found(tmp_path) == (["a.png"], {"pipe.jpg": "a named pipe", "socket.jpg": "a socket"})
        (tmp_path / "a.png").unlink()
        with pytest.raises(DataError, match=r"no photograph found \(passed over: 1; .*pipe\.jpg: a named pipe\)"):
            find_photographs([tmp_path / "pipe.jpg"])
    with pytest.raises(DataError, match="a device"):
        find_photographs([Path(os.devnull)])


def test_what_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, "a.png", "closed/b.png", "odd")
    scan = photographs.scan

    def forbidden(folder: Path):
        if folder.name == "closed":
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(photographs, "scan", forbidden)
    monkeypatch.setattr(photographs, "read_head", refused)
    why = "cannot be read (Permission denied)"
    assert found(tmp_path) == (["a.png"], {"closed/": why, "odd": why})


def test_folders_without_a_photograph_are_named_once(tmp_path: Path):
    write(tmp_path, "ann/a.png", "bob/notes/n.txt", data=b"text")
    (tmp_path / "carl" / "empty").mkdir(parents=True)
    (tmp_path / "ann" / "2020").mkdir()
    assert found(tmp_path)[1] == {
        "ann/2020/": "a folder without a photograph",
        "bob/": "a folder without a photograph",
        "bob/notes/n.txt": "text, no picture",
        "carl/": "a folder without a photograph",
    }


def test_places_without_a_photograph_are_one_sentence(tmp_path: Path):
    with pytest.raises(DataError, match=r"no photograph found \(passed over: 1; .*/: a folder without a photograph\)"):
        find_photographs([tmp_path])
    with pytest.raises(DataError, match="absent: no such file or folder"):
        find_photographs([tmp_path / "absent"])
    (tmp_path / "gone").symlink_to(tmp_path / "absent")
    with pytest.raises(DataError, match="gone: is a link to nothing"):
        find_photographs([tmp_path / "gone"])
    write(tmp_path, "a.cr2", data=b"II*\0")
    with pytest.raises(DataError, match=r"no photograph found \(passed over: 3; .*a\.cr2: a raw camera file"):
        find_photographs([tmp_path])


def test_folders_within_each_other_without_end(tmp_path: Path):
    write(tmp_path, "a.png")
    deep = tmp_path.joinpath(*["d"] * 130)
    deep.mkdir(parents=True)
    write(deep, "b.png")
    found = find_photographs([tmp_path])
    assert [file.name for file in found.files] == ["a.png"]
    assert "a folder below more than 100 others" in found.passed_over.values()
