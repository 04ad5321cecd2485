"""Pickles of images and labels read as data: no name in the file is looked up, and nothing is called.

A pickle is a program for a small stack machine. Nearly all of its instructions push bytes, numbers and lists. A few
look a Python object up by name and call it, and through them a pickle runs any command it likes. This is the same
machine without a way out: the handful of names that NumPy's own files hold stand for steps written here, and any other
name ends the reading.

`pickle.Unpickler` with a `find_class` of ours would keep names out, but not bombs: a memo index of 2^31 in a file of
ten bytes makes it fill 32 GiB, and NumPy's own constructor allocates whatever shape the file asks for. Here every
declared size is compared with the bytes that are left before anything is read, an array is a view of the file's bytes,
the text to encode may not exceed the file's length, and the number of instructions is bounded. Nothing recurses, so
that a list that holds itself, or one list twice a thousand levels deep, costs no more than its instructions.

Not here: what the values mean (`pair_bin.py`).
"""

import math
import pickle  # for the names of the instructions alone
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from faces.errors import DataError

INSTRUCTION_LIMIT = 1_000_000
"""InsightFace's files take five a pair. So many empty lists, the dearest of values but for bytes of the file, take
75 MB."""

_READ = "only bytes, whole numbers, text, lists, tuples and plain NumPy arrays are read; nothing was executed"
_DAMAGED = "the file is damaged or no pickle: copy it again"
_DTYPES = frozenset({"b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"})
_MAX_DIMENSIONS = 32
_QUOTED = re.compile(rb"""(['"])((?:[^\\]++|\\x[0-9a-f]{2}|\\[\\'"nrt])*+)""")  # what Python 2's repr writes


@dataclass(eq=False)
class PickledArray:
    """A NumPy array of the file, as a read-only view of its bytes; None where the file never fills it."""

    array: np.ndarray | None = None


class _Name(Enum):
    """The names that a file may hold. They are compared with, never looked up."""

    ENCODE = "_codecs.encode"  # how Python 3 writes bytes in protocols 0 to 2
    NDARRAY = "numpy.ndarray"
    DTYPE = "numpy.dtype"
    RECONSTRUCT = "numpy.core.multiarray._reconstruct"
    SCALAR = "numpy.core.multiarray.scalar"
    FROM_BUFFER = "numpy.core.numeric._frombuffer"


@dataclass
class _Dtype:
    code: str
    order: str = "<"


def load(data: bytes, name: str) -> Any:
    """The value that a pickle of protocol 0 to 5 holds; bytes after its end are ignored, as `pickle.load` does.

    Args:
        data: the whole file.
        name: what to call it in the message of an error.

    Returns:
        bytes (also for Python 2's `str`), str, int, bool, None, PickledArray, or lists and tuples of them. NumPy's
        scalars come as Python's. What the file holds once and names often is one object, not copies.

    Raises:
        DataError: the file asks for anything else, is cut or no pickle; the message has the byte.
    """
    return _Machine(data, name).run()


class _Machine:
    def __init__(self, data: bytes, name: str):
        self.data, self.name = data, name
        self.start = self.at = 0  # of the instruction that runs, and of the next byte
        self.stack: list[Any] = []
        self.marks: list[int] = []  # heights of the stack
        self.memo: dict[int, Any] = {}
        self.encoded = 0

    def run(self) -> Any:
        for _ in range(INSTRUCTION_LIMIT):
            self.start = self.at
            if self.at == len(self.data):
                raise self.error("the pickle has no end; the file was cut: copy it again")
            instruction = self.take(1)
            if instruction == pickle.STOP:
                value = self.pop()
                if self.stack or self.marks:
                    raise self.error(f"the pickle ends with values left over; {_DAMAGED}")
                return value
            self.execute(instruction)
        raise self.error(f"more than {INSTRUCTION_LIMIT:,} instructions, the limit; write fewer pairs to a file")

    def execute(self, instruction: bytes) -> None:
        if instruction in _PUSHES:
            self.stack.append(_PUSHES[instruction](self))
        elif instruction in _STORES:
            self.memo[_STORES[instruction](self)] = self.top()
        elif instruction in _REFUSED:
            raise self.refusal(_REFUSED[instruction])
        else:
            match instruction:
                case pickle.MARK:
                    self.marks.append(len(self.stack))
                case pickle.APPEND:
                    self.extend([self.pop()])
                case pickle.APPENDS:
                    self.extend(self.above_mark())
                case pickle.POP if self.marks[-1:] == [len(self.stack)]:
                    self.marks.pop()
                case pickle.POP:
                    self.pop()
                case pickle.POP_MARK:
                    self.above_mark()
                case pickle.BUILD:
                    state = self.pop()
                    self.fill(self.top(), state)
                case pickle.PROTO:
                    self.take(1)
                case pickle.FRAME:
                    self.take(8)
                case _:
                    raise self.error(f"{instruction[0]:#04x} is no instruction of a pickle; {_DAMAGED}")

    # Bytes of the file

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
        line, self.at = self.data[self.at : end], end + 1
        return line

    def integer(self) -> int:
        line = self.line()
        if line in (b"00", b"01"):  # False and True of protocols 0 and 1
            return line == b"01"
        try:
            return int(line.removesuffix(b"L"))
        except ValueError:
            raise self.error(f"a malformed or endless number; {_DAMAGED}") from None

    def quoted(self) -> bytes:
        line = self.line()
        match = _QUOTED.fullmatch(line[:-1])
        if match is None or line[-1:] != match[1]:
            raise self.error(f"a malformed string; {_DAMAGED}")
        return match[2].decode("unicode_escape").encode("latin-1")

    def text(self, data: bytes, encoding: str = "utf-8") -> str:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            raise self.error(f"text that is not Unicode; {_DAMAGED}") from None

    # The stack and the memo

    def top(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise self.error(f"an instruction lacks its value; {_DAMAGED}")
        return self.stack[-1]

    def pop(self) -> Any:
        self.top()
        return self.stack.pop()

    def above_mark(self) -> list[Any]:
        if not self.marks:
            raise self.error(f"an instruction lacks its values; {_DAMAGED}")
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def extend(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise self.error(f"values are appended to what is no list; {_DAMAGED}")
        target.extend(values)

    def recall(self, number: int) -> Any:
        if number not in self.memo:
            raise self.error(f"a stored value is recalled that was never stored; {_DAMAGED}")
        return self.memo[number]

    # Names and NumPy's values

    def named(self, name: Any, module: Any) -> _Name:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise self.error(f"a name that is no text; {_DAMAGED}")
        try:
            return _Name(f"{module.replace('numpy._core', 'numpy.core')}.{name}")
        except ValueError:
            raise self.refusal(f"{_shown(module)}.{_shown(name)}") from None

    def call(self, arguments: Any, function: Any) -> Any:
        match function, arguments:
            case _Name.ENCODE, (str() as text, "latin1"):
                return self.encode(text)
            case _Name.DTYPE, (str() | bytes() as code, int(), int()):
                return self.dtype(code)
            case _Name.RECONSTRUCT, (_Name.NDARRAY, tuple(), str() | bytes()):
                return PickledArray()
            case _Name.SCALAR, (_Dtype() as dtype, bytes() as data):
                return self.array((), dtype, "C", data).item()
            case _Name.FROM_BUFFER, (bytes() as data, _Dtype() as dtype, tuple() as shape, "C" | "F" as order):
                return PickledArray(self.array(shape, dtype, order, data))
            case _Name(), _:
                raise self.error(f"{function.value} with other arguments than NumPy writes; {_READ}")
        raise self.error(f"a call of what is no function; {_DAMAGED}")

    def fill(self, target: Any, state: Any) -> None:
        """Give an array or a dtype its state."""
        match target, state:
            case PickledArray(), (int(), tuple() as shape, _Dtype() as dtype, int() as by_column, bytes() as data):
                target.array = self.array(shape, dtype, "F" if by_column else "C", data)
            case _Dtype(), (int(), "<" | "|" | b"<" | b"|", None, None, None, *_):
                target.order = "<"
            case _Dtype(), (int(), ">" | b">", None, None, None, *_):
                target.order = ">"
            case _:
                raise self.error(f"the state of what is no plain NumPy array; {_READ}")

    def encode(self, text: str) -> bytes:
        self.encoded += len(text)
        if self.encoded > len(self.data):
            raise self.error("more text to encode than the file is long; the file is a bomb or damaged")
        try:
            return text.encode("latin-1")
        except UnicodeEncodeError:
            raise self.error(f"bytes written as text that is not Latin-1; {_DAMAGED}") from None

    def dtype(self, code: str | bytes) -> _Dtype:
        code = code if isinstance(code, str) else code.decode("latin-1")
        if code not in _DTYPES:
            raise self.refusal(f"a NumPy array of dtype {_shown(code)}")
        return _Dtype(code)

    def array(self, shape: tuple[Any, ...], dtype: _Dtype, order: Any, data: bytes) -> np.ndarray:
        fits = len(shape) <= _MAX_DIMENSIONS and all(type(side) is int and 0 <= side <= len(data) for side in shape)
        if not fits or math.prod(shape) * int(dtype.code[1]) != len(data):
            raise self.error(f"a NumPy array whose shape does not fit its {len(data):,} bytes; {_DAMAGED}")
        return np.ndarray(shape, dtype.order + dtype.code, data, order=order)

    # Errors

    def refusal(self, what: str) -> DataError:
        return self.error(f"holds a pickle that asks for {what}; {_READ}")

    def error(self, what: str) -> DataError:
        return DataError(f"{self.name}, byte {self.start}: {what}.")


def _shown(text: str) -> str:
    """Text of the file for a sentence: short, and without control characters."""
    return text[:60].encode("unicode_escape").decode("ascii")


# What each instruction pushes. Operands are written in the order in which they are taken from the file or the stack.
_PUSHES: dict[bytes, Callable[[_Machine], Any]] = {
    pickle.NONE: lambda m: None,
    pickle.NEWTRUE: lambda m: True,
    pickle.NEWFALSE: lambda m: False,
    pickle.INT: lambda m: m.integer(),
    pickle.LONG: lambda m: m.integer(),
    pickle.BININT: lambda m: int.from_bytes(m.take(4), "little", signed=True),
    pickle.BININT1: lambda m: m.unsigned(1),
    pickle.BININT2: lambda m: m.unsigned(2),
    pickle.LONG1: lambda m: int.from_bytes(m.sized(1), "little", signed=True),
    pickle.LONG4: lambda m: int.from_bytes(m.sized(4), "little", signed=True),
    pickle.STRING: lambda m: m.quoted(),
    pickle.SHORT_BINSTRING: lambda m: m.sized(1),
    pickle.SHORT_BINBYTES: lambda m: m.sized(1),
    pickle.BINSTRING: lambda m: m.sized(4),
    pickle.BINBYTES: lambda m: m.sized(4),
    pickle.BINBYTES8: lambda m: m.sized(8),
    pickle.BYTEARRAY8: lambda m: m.sized(8),
    pickle.UNICODE: lambda m: m.text(m.line(), "raw_unicode_escape"),
    pickle.SHORT_BINUNICODE: lambda m: m.text(m.sized(1)),
    pickle.BINUNICODE: lambda m: m.text(m.sized(4)),
    pickle.BINUNICODE8: lambda m: m.text(m.sized(8)),
    pickle.EMPTY_LIST: lambda m: [],
    pickle.LIST: lambda m: m.above_mark(),
    pickle.EMPTY_TUPLE: lambda m: (),
    pickle.TUPLE: lambda m: tuple(m.above_mark()),
    pickle.TUPLE1: lambda m: (m.pop(),),
    pickle.TUPLE2: lambda m: (m.pop(), m.pop())[::-1],
    pickle.TUPLE3: lambda m: (m.pop(), m.pop(), m.pop())[::-1],
    pickle.DUP: lambda m: m.top(),
    pickle.GET: lambda m: m.recall(m.integer()),
    pickle.BINGET: lambda m: m.recall(m.unsigned(1)),
    pickle.LONG_BINGET: lambda m: m.recall(m.unsigned(4)),
    pickle.GLOBAL: lambda m: m.named(module=m.text(m.line()), name=m.text(m.line())),
    pickle.INST: lambda m: m.named(module=m.text(m.line()), name=m.text(m.line())),  # a call of old; the name is enough
    pickle.STACK_GLOBAL: lambda m: m.named(name=m.pop(), module=m.pop()),
    pickle.REDUCE: lambda m: m.call(arguments=m.pop(), function=m.pop()),
}
# The number under which each stores the top of the stack.
_STORES: dict[bytes, Callable[[_Machine], int]] = {
    pickle.MEMOIZE: lambda m: len(m.memo),
    pickle.PUT: lambda m: m.integer(),
    pickle.BINPUT: lambda m: m.unsigned(1),
    pickle.LONG_BINPUT: lambda m: m.unsigned(4),
}
_REFUSED = {
    pickle.FLOAT: "a float",
    pickle.BINFLOAT: "a float",
    pickle.DICT: "a dict",
    pickle.EMPTY_DICT: "a dict",
    pickle.EMPTY_SET: "a set",
    pickle.FROZENSET: "a set",
    pickle.OBJ: "an object of a class",
    pickle.NEWOBJ: "an object of a class",
    pickle.NEWOBJ_EX: "an object of a class",
    pickle.PERSID: "a persistent id",
    pickle.BINPERSID: "a persistent id",
    pickle.EXT1: "an extension code",
    pickle.EXT2: "an extension code",
    pickle.EXT4: "an extension code",
    pickle.NEXT_BUFFER: "a buffer outside the file",
}
