"""Text files that list images, pairs or videos: their lines, or one sentence on what lies there instead.

Not here: what the lines mean (each format's own module).
"""

from pathlib import Path

from faces.data.file_kinds import HEAD, described, format_of, is_web_page
from faces.errors import DataError


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Number and text of each line of a list that is not blank.

    Raises:
        DataError: as `read_text`.
    """
    return [(number, line.strip()) for number, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]


def read_text(path: Path) -> str:
    """The text of a list, in UTF-8 with or without a byte order mark.

    Raises:
        DataError: as `check_list`, or no text.
    """
    check_list(path)
    try:
        return path.read_text("utf-8-sig")
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
        if path.is_dir():
            raise DataError(f"{path}: is a folder; a list, a text file, is expected there.")
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: is no file; a list, a text file, is expected there.")
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    if is_web_page(head):
        raise DataError(f"{path}: is a web page, not a list; download the file itself.")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}: is text in UTF-16; save it as UTF-8.")
    if format_of(head) not in (None, "PPM") or b"\0" in head:
        what = f"a {format_of(head)} picture" if format_of(head) else described(head)
        raise DataError(f"{path}: is {what}; a list, a text file, is expected there.")
