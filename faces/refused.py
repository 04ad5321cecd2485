"""What the system refuses when files are written, as a sentence with the way out.

Not here: the writing (`outputs.py`).
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from faces.errors import OutputError

PARTIAL = ".partial"
"""Within a folder of results: where they lie until they are complete. No message names it."""

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_IN_THE_WAY = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY}
_BROKEN = {errno.EIO, errno.ESTALE}
REFUSED = _NO_SPACE | _FORBIDDEN | _IN_THE_WAY | _BROKEN | {errno.ENAMETOOLONG, errno.ELOOP}
"""Errors of the system that a person can mend."""


def is_full(error: OSError) -> bool:
    """Whether there is no more room, on the disk or of what the user may have of it."""
    return error.errno in _NO_SPACE


def explained(error: OSError, place: Path | str) -> OutputError:
    """The sentence for what the system refused at `place`."""
    place = Path(*(part for part in Path(place).parts if part != PARTIAL))
    if is_full(error):
        return OutputError(f"{place}: cannot be written, the disk is full; make room, or name a place on another disk.")
    if error.errno in _FORBIDDEN:
        return OutputError(f"{place}: may not be written ({error.strerror}); name a place of yours.")
    if error.errno in _IN_THE_WAY:
        return OutputError(f"{place}: cannot be made, a file or folder is in the way; name another place.")
    return OutputError(f"{place}: cannot be written ({error.strerror or error}); name another place.")


def refusal(error: BaseException) -> OSError | None:
    """What the system refused, if that is what an error of any library means; None if it is something else.

    TensorStore and Orbax report a full disk as ValueError or JAX's RuntimeError, ArrayRecord as RuntimeError, and a
    zip that could not be finished reports something else: the system's words are then in the message, or in the error
    that it came from.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError):
            return seen
        for number in REFUSED:
            if isinstance(seen, ValueError | RuntimeError) and os.strerror(number) in str(seen):
                return OSError(number, os.strerror(number))
        seen = seen.__cause__ or seen.__context__
    return None


@contextlib.contextmanager
def writing(place: Path | str) -> Iterator[None]:
    """A block that writes at `place`: what the system refuses in it becomes an OutputError that names the place."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        if (refused := refusal(error)) is None:
            raise
        raise explained(refused, place) from error
