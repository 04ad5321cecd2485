"""The one way to open a file that may come from somewhere else: one that can be read to an end, of a size that is
expected.

| what lies there | what becomes of it |
|---|---|
| a regular file, or a link to one | opened, and looked at once more when it is open |
| a pipe, socket or device, a folder, a link to one of these | refused, and nothing waits for it or takes from it |
| a link to nothing, or links in a circle | refused, in the system's words |
| more bytes than such a file may have | refused before a byte is read |
| mostly holes: bytes that were never written, as of a download that broke off | refused before a byte is read |

What is refused is an `OSError` whose `strerror` says why, as the system's own are, so that a reader has one `except`
for both, and makes the error of its kind of it.

Not here: files that are written (`outputs.py`), what the bytes mean (each format's reader).
"""

import errno
import io
import json
import mmap
import os
import stat
from pathlib import Path
from typing import Any

from faces import reading

MIB = 1 << 20
_MOSTLY_HOLES = 16 * MIB
"""From this size on it is looked whether a file holds what its size says."""
_MOST_EXTENTS = 1000
_DEEPEST = 100
"""Lists and tables within each other, of JSON; ours have less than ten."""
_FLAGS = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_BINARY"))  # not every system has each
_SPECIAL = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


class EmptyFileError(OSError):
    """A file without a byte in it, which cannot be mapped."""


def special(mode: int) -> str:
    """What is neither file nor folder, by the `st_mode` of it."""
    return next((what for holds, what in _SPECIAL if holds(mode)), "neither file nor folder")


def check_kind(mode: int) -> None:
    """OSError for what is no regular file, by the `st_mode` of it."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"{special(mode)} and no file")


def open_regular(path: Path | str | os.DirEntry[str], most: int | None = None) -> io.BufferedReader:
    """A file, opened to be read; see the table above.

    Args:
        path: the file.
        most: bytes that such a file may have; None where it is read piece by piece, or mapped.

    Raises:
        OSError: it is refused.
    """
    reading.note_file(path)
    try:
        check_kind(os.stat(path).st_mode)  # noqa: PTH116, an entry of a scan is no Path; a device is not even opened
        number = os.open(path, os.O_RDONLY | _FLAGS)
    except ValueError:  # a zero byte, or half of a character
        raise OSError(errno.EINVAL, "no name that a file can have") from None
    try:
        found = os.fstat(number)
        check_kind(found.st_mode)  # it may have changed in between
        if most is not None and found.st_size > most:
            raise OSError(errno.EFBIG, f"{_size(found.st_size)}, more than the {_size(most)} that are read")
        if most is not None and found.st_size >= _MOSTLY_HOLES:
            _check_written(number, found.st_size)
        return open(number, "rb")  # noqa: PTH123, no path but what was opened above
    except BaseException:
        os.close(number)
        raise


def read_bytes(path: Path | str, most: int) -> bytes:
    """All bytes of a file; OSError as `open_regular`."""
    with open_regular(path, most) as file:
        data = file.read(os.fstat(file.fileno()).st_size + 1)
    if len(data) > most:  # it grows
        raise OSError(errno.EFBIG, f"more than the {_size(most)} that are read")
    return data


def read_head(path: Path | str | os.DirEntry[str], size: int) -> bytes:
    """The first bytes of a file; OSError as `open_regular`."""
    with open_regular(path) as file:
        return file.read(size)


def map_file(path: Path | str) -> mmap.mmap:
    """A file as memory that is read when it is looked at; OSError as `open_regular`, or the file is empty."""
    with open_regular(path) as file:
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise EmptyFileError(errno.ENODATA, "the file is empty") from None


def read_json(path: Path | str, most: int) -> Any:
    """The content of a JSON file in UTF-8.

    Raises:
        OSError: as `open_regular`.
        ValueError: no JSON, or lists and tables within each other without end, or a number of too many digits.
    """
    return parse_json(read_bytes(path, most))


def parse_json(data: bytes | str) -> Any:
    """As `read_json`, of a text."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        content = json.loads(text)
    except RecursionError:
        raise ValueError("lists and tables within each other without end") from None
    if text.count("[") + text.count("{") > _DEEPEST:
        check_depth(content, _DEEPEST)
    return content


def check_depth(content: Any, most: int) -> None:
    """ValueError for lists and tables of more than `most` levels, which others would go through by recursion."""
    level = [content]
    for _ in range(most + 1):
        inner = [value.values() if isinstance(value, dict) else value for value in level]
        level = [value for values in inner if isinstance(values, type({}.values()) | list) for value in values
                 if isinstance(value, dict | list)]  # fmt: skip
        if not level:
            return
    raise ValueError(f"lists and tables within each other, more than {most} levels")


def _check_written(number: int, size: int) -> None:
    """OSError for a file most of whose bytes were never written; of a system that does not tell, none is."""
    if not hasattr(os, "SEEK_HOLE"):
        return
    at = written = 0
    try:
        for _ in range(_MOST_EXTENTS):
            at = os.lseek(number, at, os.SEEK_DATA)
            end = os.lseek(number, at, os.SEEK_HOLE)
            at, written = end, written + end - at
            if at >= size or 2 * written >= size:
                break
        else:
            return  # in so many pieces that counting them is work of its own
    except OSError as error:
        if error.errno != errno.ENXIO:  # nothing but a hole follows
            return
    finally:
        os.lseek(number, 0, os.SEEK_SET)
    if 2 * written < size:
        raise OSError(errno.EINVAL, f"of its {_size(size)} more than half were never written; copy it again")


def _size(size: int) -> str:
    return f"{size / MIB:,.1f} MiB" if size >= MIB else f"{size:,} bytes"
