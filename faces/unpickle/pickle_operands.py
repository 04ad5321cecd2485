"""The bytes of a pickle, taken one operand after the other, and the errors of its reader.

Every declared size is compared with the bytes that are left before anything is taken; text and lines are counted,
because text takes up to four times its bytes.

Not here: what the instructions do (`pickle_instructions.py`).
"""

import codecs
import math
import mmap
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from faces.errors import DataError, FacesError
from faces.unpickle.pickled_arrays import ForeignError, Name, RefusedError

DAMAGED = "the file is damaged or no pickle: copy it again"
INDEX_LIMIT = 2**32
"""Of numbers in the memo, and of whole numbers as keys: larger ones can be made to collide."""

_QUOTED = re.compile(rb"""(['"])((?:[^\\]++|\\x[0-9a-f]{2}|\\[\\'"nrt])*+)""")  # what Python 2's repr writes

_PIECE = 2**16
_LATIN = bytes(range(0xC4))  # of which UTF-8 makes the characters below U+0100


@dataclass(frozen=True)
class Contents:
    """What the pickles of one kind of file may hold, beside bytes, whole numbers, text, lists, tuples and arrays.

    Args:
        names: names, by themselves, and the steps that stand for them; they go before NumPy's.
        persistent: what a persistent id stands for; None where there are none.
        mappings: whether there are dicts, and floats. Their keys are text, bytes or whole numbers below 2^32.
        opaque: whether what is not known stands as an `Opaque` value, for the caller to pass over or to refuse by
            `refusal`; otherwise it ends the reading.
        instructions: how many there may be; None for INSTRUCTION_LIMIT.
        text: bytes of text and of lines that there may be: text takes up to four times its bytes.
        latin: whether text that Latin-1 can write takes no part in that, as Python 3 writes bytes in protocols 0 to 2:
            all of it together takes no more than the file.
        read: what is read, for the sentence that refuses anything else.
        fewer: what a person does about too many instructions or too much text.
        error: the exception that is raised.
    """

    names: Mapping[str, Name] = field(default_factory=dict)
    persistent: Callable[[Any], Any] | None = None
    mappings: bool = False
    opaque: bool = False
    instructions: int | None = None
    text: float = math.inf
    latin: bool = False
    read: str = "bytes, whole numbers, text, lists, tuples and plain NumPy arrays"
    fewer: str = "write fewer pairs to a file"
    error: type[FacesError] = DataError

    @property
    def only(self) -> str:
        return f"only {self.read} are read; nothing was executed"

    def refusal(self, name: str, byte: int, what: str) -> FacesError:
        """The error for what a well-formed pickle asks for and does not get, at a byte of the file `name`."""
        return self.error(f"{name}, byte {byte}: holds a pickle that asks for {what}; {self.only}.")


def _narrow(data: bytes) -> str:
    """Text below U+0100 from its UTF-8, in little more memory than it takes; decoding at once takes thrice that."""
    decoder, narrow = codecs.getincrementaldecoder("utf-8")(), bytearray()
    for at in range(0, len(data), _PIECE):
        narrow += decoder.decode(data[at : at + _PIECE], at + _PIECE >= len(data)).encode("latin-1")
    return narrow.decode("latin-1")


class Operands:
    """A pickle while it is read: `start` is the byte of the instruction that runs, `at` the next byte."""

    def __init__(self, data: bytes | mmap.mmap, start: int, name: str, contents: Contents):
        self.data, self.name, self.contents = data, name, contents
        self.start = self.at = start
        self.text_left = contents.text

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            left = len(self.data) - self.at
            raise self.error(f"{count:,} bytes declared, {left:,} left; it was cut or is no pickle: copy it again")
        taken, self.at = self.data[self.at : end], end
        return taken

    def unsigned(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def sized(self, size: int) -> bytes:
        """Bytes that follow their own number, which takes `size` bytes."""
        return self.take(self.unsigned(size))

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise self.error("the file ends in the middle of a line; it was cut or is no pickle: copy it again")
        self.count_text(end - self.at)
        line, self.at = self.data[self.at : end], end + 1
        return line

    def count_text(self, size: int) -> None:
        self.text_left -= size
        if self.text_left < 0:
            raise self.error(f"more than {self.contents.text:,} bytes of text, the limit; {self.contents.fewer}")

    def integer(self) -> int:
        line = self.line()
        if line in (b"00", b"01"):  # False and True of protocols 0 and 1
            return line == b"01"
        try:
            return int(line.removesuffix(b"L"))
        except ValueError:
            raise self.error(f"a malformed or endless number; {DAMAGED}") from None

    def real(self) -> float:
        try:
            return float(self.line())
        except ValueError:
            raise self.error(f"a malformed number; {DAMAGED}") from None

    def quoted(self) -> bytes:
        line = self.line()
        match = _QUOTED.fullmatch(line[:-1])
        if match is None or line[-1:] != match[1]:
            raise self.error(f"a malformed string; {DAMAGED}")
        return match[2].decode("unicode_escape").encode("latin-1")

    def text(self, data: bytes, encoding: str = "utf-8") -> str:
        is_latin = self.contents.latin and not data.translate(None, _LATIN)
        if not is_latin:
            self.count_text(len(data))
        try:
            is_long = is_latin and len(data) > _PIECE and not data.isascii()
            return _narrow(data) if is_long else data.decode(encoding)
        except UnicodeDecodeError:
            raise self.error(f"text that is not Unicode; {DAMAGED}") from None

    def index(self) -> int:
        number = self.integer()
        if not 0 <= number < INDEX_LIMIT:
            raise self.error(f"a stored value has an impossible number; {DAMAGED}")
        return number

    def foreign(self, error: ForeignError) -> FacesError:
        return self.refusal(str(error)) if isinstance(error, RefusedError) else self.error(f"{error}; {DAMAGED}")

    def refusal(self, what: str) -> FacesError:
        return self.contents.refusal(self.name, self.start, what)

    def error(self, what: str) -> FacesError:
        return self.contents.error(f"{self.name}, byte {self.start}: {what}.")
