"""Text files that list images, pairs or videos: their lines, or one sentence on what lies there instead.

Not here: what the lines mean (each format's own module).
"""

import io
from collections.abc import Iterator
from pathlib import Path

from faces.data.file_kinds import HEAD, described, format_of, is_web_page
from faces.errors import DataError
from faces.opening import MIB, read_bytes, read_head

LARGEST = 128 * MIB
"""Bytes of a list; the longest of a protocol, of IJB-C's landmarks, has 45 MB."""
MOST_LINES = 4_000_000
LONGEST_LINE = 65_536
"""Characters."""


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Number and text of each line of a list that is not blank.

    Raises:
        DataError: as `read_text`; a line that is too long, or more lines than a list has.
    """
    return [(number, line) for number, text in numbered_lines(path) if (line := text.strip())]


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line, blank ones too, without its end; errors as `read_lines`."""
    with io.StringIO(read_text(path), newline=None) as lines:
        for number, line in enumerate(lines, 1):
            if number > MOST_LINES:
                raise DataError(f"{path}: more than {MOST_LINES:,} lines, the most that are read; give a part of it.")
            if len(line) > LONGEST_LINE:
                raise DataError(
                    f"{path}, line {number}: {len(line):,} characters, which no line of a list has; save the list with "
                    "a line for each entry."
                )
            yield number, line.removesuffix("\n")


def read_text(path: Path) -> str:
    """The text of a list, in UTF-8 with or without a byte order mark.

    Raises:
        DataError: as `check_list`; no text; more than `LARGEST` bytes.
    """
    check_list(path)
    try:
        return read_bytes(path, LARGEST).decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, byte {error.start}: not UTF-8 text; a list is expected.") from None


def check_list(path: Path) -> None:
    """See that a text file lies at a path, by its beginning.

    Raises:
        DataError: a folder, no such file, a web page that a server sent in its place, an image, an archive.
    """
    try:
        head = read_head(path, HEAD)
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; a list, a text file, is expected there.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    if is_web_page(head):
        raise DataError(f"{path}: is a web page, not a list; download the file itself.")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}: is text in UTF-16; save it as UTF-8.")
    if format_of(head) not in (None, "PPM") or b"\0" in head:
        what = f"a {format_of(head)} picture" if format_of(head) else described(head)
        raise DataError(f"{path}: is {what}; a list, a text file, is expected there.")
