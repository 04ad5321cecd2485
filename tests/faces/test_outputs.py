"""Places of results: refused before the work, replaced together, kept for one program, never half-written."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from faces import outputs
from faces.errors import OutputError


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_replacing_is_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "a.json"
    outputs.write_text(path, "old")
    with pytest.raises(ZeroDivisionError), outputs.replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old" and names(path.parent) == ["a.json"]
    outputs.write_json(path, {"b": 1})
    assert path.read_text() == '{\n  "b": 1\n}\n' and names(path.parent) == ["a.json"]


def test_many_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "shared"
    threads = [threading.Thread(target=lambda: [outputs.write_bytes(path, b"x" * 1000) for _ in range(20)])
               for _ in range(4)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() == b"x" * 1000 and names(tmp_path) == ["shared"]


def test_a_new_file_has_the_permissions_that_the_umask_gives(tmp_path):
    before = os.umask(0o027)
    try:
        outputs.write_text(tmp_path / "a", "")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("number", "sentence"),
    [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the disk is full"), (errno.EACCES, "may not be written"),
     (errno.EROFS, "may not be written"), (errno.ENOTDIR, "in the way"), (errno.EIO, "cannot be written")],
)  # fmt: skip
def test_what_the_disk_refuses_is_a_sentence_that_names_the_place(tmp_path, number, sentence):
    with pytest.raises(OutputError, match=sentence) as raised, outputs.writing(tmp_path / "x"):
        raise OSError(number, os.strerror(number))
    assert str(tmp_path / "x") in str(raised.value)


def test_results_appear_together(tmp_path):
    out = tmp_path / "a" / "out"
    with outputs.results_folder(out) as folder:
        outputs.write_json(folder / "result.json", {})
        (folder / "pictures").mkdir()
        assert names(out) == [".lock", ".partial"]
    assert names(out) == ["pictures", "result.json"]


def test_results_are_replaced_only_when_told_and_only_by_whole_ones(tmp_path):
    out = tmp_path / "out"
    with outputs.results_folder(out) as folder:
        outputs.write_json(folder / "result.json", 1)
        outputs.write_text(folder / "old.txt", "")
    with pytest.raises(OutputError, match="holds results already; name another folder, or replace them with --over"):
        outputs.results_folder(out).__enter__()
    with pytest.raises(ZeroDivisionError), outputs.results_folder(out, overwrite=True) as folder:
        outputs.write_json(folder / "result.json", 2)
        raise ZeroDivisionError
    assert names(out) == ["old.txt", "result.json"] and (out / "result.json").read_text() == "1\n"
    with outputs.results_folder(out, overwrite=True) as folder:
        outputs.write_json(folder / "result.json", 3)
    assert names(out) == ["result.json"] and (out / "result.json").read_text() == "3\n"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_others_is_never_written_into(tmp_path, overwrite):
    (tmp_path / "package.py").write_text("")
    with pytest.raises(OutputError, match="no results of these commands"):
        outputs.results_folder(tmp_path, overwrite).__enter__()
    assert names(tmp_path) == ["package.py"]


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_in_the_way_is_a_sentence(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"is a file|in the way"):
        outputs.results_folder(tmp_path / place).__enter__()
    with pytest.raises(OutputError):
        outputs.check_folder(tmp_path / place)


def test_what_breaks_off_leaves_no_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), outputs.results_folder(tmp_path / "a" / "b") as folder:
        outputs.write_text(folder / "x", "")
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_a_folder_is_one_programs_at_a_time_and_free_when_that_is_killed(tmp_path):
    held = f"""
import sys
from pathlib import Path
from faces import outputs
with outputs.locked(Path({str(tmp_path)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match="another command is writing there"):
            outputs.locked(tmp_path).__enter__()
        other.kill()
    with outputs.locked(tmp_path):
        pass
    assert names(tmp_path) == []


def test_numbered_folders_are_made_once(tmp_path):
    made = [outputs.numbered(tmp_path / "runs" / "tiny") for _ in range(3)]
    assert [folder.name for folder in made] == ["tiny", "tiny-2", "tiny-3"] and all(f.is_dir() for f in made)
