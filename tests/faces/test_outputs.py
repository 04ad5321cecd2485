"""Places of results: refused before the work, replaced together, kept for one program, never half-written."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from faces import outputs
from faces.errors import OutputError
from faces.locks import waited_for


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


@pytest.fixture(params=[0, 0o022, 0o077])
def umask(request: pytest.FixtureRequest):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> set[tuple[str, int]]:
    """Kind and mode of all that lies in a folder."""
    return {("folder" if one.is_dir() else "file", one.stat().st_mode & 0o777) for one in folder.rglob("*")}


def test_what_is_written_is_its_owners_alone(tmp_path: Path, umask: int):
    outputs.write_npz(tmp_path / "a" / "b" / "cache.npz", {"x": np.zeros(2)})
    with waited_for(tmp_path / "c" / "d" / "shared.npz"):
        pass
    outputs.append_text(outputs.numbered(tmp_path / "e" / "f") / "log.jsonl", "one\n")
    with outputs.results_folder(tmp_path / "g" / "h") as out:
        outputs.write_text(out / "deep" / "text", "")
        (out / "made").mkdir()
        (out / "made" / "by a library.png").write_bytes(b"")  # as the umask says
    with outputs.locked(tmp_path / "i" / "j") as _:
        outputs.append_text(tmp_path / "i" / "j" / "k", "")
    assert modes(tmp_path) == {("folder", 0o700), ("file", 0o600)}


def test_a_folder_that_was_there_keeps_its_mode_and_what_is_made_in_it_is_private(tmp_path: Path, umask: int):
    folder = tmp_path / "there"
    folder.mkdir()
    folder.chmod(0o755)
    old = folder / "old.json"
    old.write_text("")
    old.chmod(0o644)
    outputs.write_text(old, "new")
    with outputs.results_folder(folder / "results") as out:
        outputs.write_text(out / "a", "")
    assert folder.stat().st_mode & 0o777 == 0o755 and modes(folder) == {("folder", 0o700), ("file", 0o600)}
    folder = tmp_path / "empty"
    folder.mkdir()
    folder.chmod(0o755)
    with outputs.results_folder(folder) as out:
        (out / "picture.png").write_bytes(b"")
    assert folder.stat().st_mode & 0o777 == 0o755 and modes(folder) == {("file", 0o600)}


def test_commands_let_libraries_write_for_the_owner_alone(tmp_path: Path):
    written = "__import__('pathlib').Path(given[0]).write_text('')"
    subprocess.run(
        [sys.executable, "-c", f"from faces import cli; cli.run(lambda given: {written})", str(tmp_path / "a")],
        check=True, umask=0,
    )  # fmt: skip
    assert modes(tmp_path) == {("file", 0o600)}


@pytest.mark.parametrize(
    ("number", "sentence"),
    [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the disk is full"), (errno.EACCES, "may not be written"),
     (errno.EROFS, "may not be written"), (errno.ENOTDIR, "in the way"), (errno.EIO, "cannot be written"),
     (errno.EFBIG, "the disk is full"), (errno.ENAMETOOLONG, "cannot be written")],
)  # fmt: skip
def test_what_the_disk_refuses_is_a_sentence_that_names_the_place(tmp_path, number, sentence):
    with pytest.raises(OutputError, match=sentence) as raised, outputs.writing(tmp_path / "x"):
        raise OSError(number, os.strerror(number))
    assert str(tmp_path / "x") in str(raised.value)


@pytest.mark.parametrize("kind", [ValueError, RuntimeError])
def test_what_the_disk_refuses_a_library_is_told_by_the_systems_words(tmp_path, kind):
    """TensorStore: ValueError, JAX and ArrayRecord: RuntimeError, a zip: an error about itself."""
    with pytest.raises(OutputError, match="the disk is full"), outputs.writing(tmp_path):
        raise kind("UNAVAILABLE: Error writing local file: No space left on device [OS error 28]")
    with pytest.raises(OutputError, match="may not be written"), outputs.writing(tmp_path):
        try:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        except OSError:
            raise kind("cannot close the file") from None
    with pytest.raises(kind, match="a defect"), outputs.writing(tmp_path):
        raise kind("a defect")


def full(tmp_path, code: str) -> str:
    """What a program prints that may write files of 64 KiB at most."""
    lines = ["import resource", "from pathlib import Path", "import numpy as np", "from faces import outputs",
             f"folder = Path({str(tmp_path)!r})", "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))",
             "try:", *(f"    {line}" for line in code.splitlines()),
             "except outputs.OutputError as error:", "    print(error)"]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    "code",
    ["outputs.write_bytes(folder / 'x', bytes(100_000))",
     "outputs.write_npz(folder / 'x', {'a': np.zeros(100_000, np.float32)})",
     "outputs.append_text(folder / 'x', 'line' * 100_000)"],
)  # fmt: skip
def test_a_full_disk(tmp_path, code):
    (tmp_path / outputs.PARTIAL).mkdir()
    inside = full(tmp_path, code.replace("folder / 'x'", "folder / '.partial' / 'x'"))
    shutil.rmtree(tmp_path / outputs.PARTIAL)
    assert inside == full(tmp_path, code)  # a person knows the folder that the results shall be in
    assert full(tmp_path, code) == f"{tmp_path / 'x'}: cannot be written, the disk is full; make room, or name a " \
                                   "place on another disk.\n"  # fmt: skip
    assert names(tmp_path) == ([] if "append" not in code else ["x"])


@pytest.mark.parametrize(
    "code", ["with outputs.results_folder(folder / 'x'): raise ZeroDivisionError", "outputs.check_folder(folder / 'x')"]
)
def test_a_disk_on_which_empty_files_alone_fit_is_full_before_the_work(tmp_path, code):
    limited = f"resource.setrlimit(resource.RLIMIT_FSIZE, (outputs.ROOM - 1, 65536))\n{code}"
    assert full(tmp_path, limited).startswith(f"{tmp_path / 'x'}: cannot be written, the disk is full")
    assert names(tmp_path) == []


def test_text_that_is_no_unicode_is_written_with_escapes(tmp_path):
    outputs.write_text(tmp_path / "a", "\udcff ü")
    outputs.append_text(tmp_path / "a", "\udcfe")
    assert (tmp_path / "a").read_bytes() == rb"\udcff " + "ü".encode() + rb"\udcfe"


def test_a_name_as_long_as_names_may_be(tmp_path):
    outputs.write_text(tmp_path / ("ü" * 127), "x")
    with waited_for(tmp_path / ("ü" * 127)):
        pass
    assert names(tmp_path) == ["ü" * 127]
    with pytest.raises(OutputError, match="cannot be written"):
        outputs.write_text(tmp_path / "a" / ("x" * 256), "")


def test_results_appear_together(tmp_path):
    out = tmp_path / "a" / "out"
    with outputs.results_folder(out) as folder:
        outputs.write_json(folder / "result.json", {})
        (folder / "pictures").mkdir()
        assert names(out) == [".lock", ".partial"]
    assert names(out) == [".contents", "pictures", "result.json"]
    assert (out / ".contents").read_text() == "pictures\nresult.json\n"


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
    assert names(out) == [".contents", "old.txt", "result.json"] and (out / "result.json").read_text() == "1\n"
    with outputs.results_folder(out, overwrite=True) as folder:
        outputs.write_json(folder / "result.json", 3)
    assert names(out) == [".contents", "result.json"] and (out / "result.json").read_text() == "3\n"


@pytest.mark.parametrize("record", outputs.RECORDS)
def test_nothing_is_taken_away_but_what_a_command_listed(tmp_path, record):
    """Other programs have a settings.json or a config.toml as well."""
    (tmp_path / record).write_text("not of ours")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="holds results already"):
            outputs.results_folder(tmp_path, overwrite).__enter__()
    assert (tmp_path / record).read_text() == "not of ours" and names(tmp_path) == [record]

    out = tmp_path / "out"
    with outputs.results_folder(out) as folder:
        outputs.write_json(folder / "result.json", 1)
    (out / "notes.txt").write_text("mine")
    with outputs.results_folder(out, overwrite=True) as folder:
        outputs.write_json(folder / "other.json", 2)
        (out / "appeared.txt").write_text("mine")
    assert names(out) == [".contents", "appeared.txt", "notes.txt", "other.json"]
    with pytest.raises(OutputError, match="in the way"), outputs.results_folder(out, overwrite=True) as folder:
        outputs.write_text(folder / "notes.txt", "ours")
    assert names(out) == [".contents", "appeared.txt", "notes.txt", "other.json"]
    assert (out / "notes.txt").read_text() == "mine"
    (out / ".contents").write_text("other.json\n../settings.json\n..\n/etc\n")
    outputs.remove_contents(out)
    assert names(tmp_path) == sorted([record, "out"]) and names(out) == ["appeared.txt", "notes.txt"]


def test_results_that_cannot_be_moved_leave_the_old_ones(tmp_path, monkeypatch):
    out = tmp_path / "out"
    with outputs.results_folder(out) as folder:
        outputs.write_json(folder / "result.json", 1)
        outputs.write_json(folder / "a.json", 1)
    move = Path.rename

    def rename(self, target):
        if self.name == "result.json" and self.parent.name == outputs.PARTIAL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return move(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OutputError, match="the disk is full"), outputs.results_folder(out, overwrite=True) as folder:
        outputs.write_json(folder / "b.json", 2)
        outputs.write_json(folder / "result.json", 2)
    assert names(out) == [".contents", "a.json", "result.json"] and (out / "result.json").read_text() == "1\n"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_others_is_never_written_into(tmp_path, overwrite):
    (tmp_path / "package.py").write_text("")
    with pytest.raises(OutputError, match="no results of these commands"):
        outputs.results_folder(tmp_path, overwrite).__enter__()
    assert names(tmp_path) == ["package.py"]


@pytest.mark.parametrize("place", ["file", "file/below", "dangling", "/proc/x", "/dev/null", "a/" + "x" * 300])
def test_a_place_that_cannot_be_a_folder_is_a_sentence(tmp_path, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "at all")
    with pytest.raises(OutputError, match=r"is a file|in the way|cannot be written"):
        outputs.results_folder(tmp_path / place).__enter__()
    with pytest.raises(OutputError):
        outputs.check_folder(tmp_path / place)
    assert names(tmp_path) == ["dangling", "file"]


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


def test_many_may_look_at_one_place_that_is_not_yet_there(tmp_path):
    """Each makes it and takes it away again, under the others' hands."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(outputs.check_folder, [tmp_path / "a" / "cache"] * 100))
    outputs.check_folder(tmp_path / "a" / "cache")
