"""Pickles read as data: no name in the file is looked up, and nothing is called.

A pickle is a program for a small stack machine. Nearly all of its instructions push bytes, numbers and lists. A few
look a Python object up by name and call it, and through them a pickle runs any command it likes. This is the same
machine without a way out: the handful of names that the writers of a kind of file use stand for steps written here,
and any other name ends the reading.

`pickle.Unpickler` with a `find_class` of ours would keep names out, but not bombs: a memo index of 2^31 in a file of
ten bytes makes it fill 32 GiB, and NumPy's own constructor allocates whatever shape the file asks for. Here every
declared size is compared with the bytes that are left before anything is read, an array is a view of the file's bytes,
the text to encode may not exceed the file's length, and the number of instructions is bounded. Nothing recurses, so
that a list that holds itself, or one list twice a thousand levels deep, costs no more than its instructions; and what
may be the key of a dict is hashed in one step.

Not here: the operands of the instructions (`pickle_operands.py`), NumPy's names (`pickled_arrays.py`), those of other
libraries (`faces/weights/`), what the values mean.
"""

import mmap
import pickle  # for the names of the instructions alone
import struct
from collections.abc import Callable
from typing import Any

from faces.data.pickle_operands import DAMAGED, INDEX_LIMIT, Contents, Operands
from faces.data.pickled_arrays import ARRAY_NAMES, ForeignError, Name, PickledArray, other_arguments, shown

__all__ = ["INSTRUCTION_LIMIT", "Contents", "PickledArray", "load", "load_next"]

INSTRUCTION_LIMIT = 1_000_000
"""InsightFace's files take five a pair. So many empty lists, the dearest of values but for bytes of the file, take
75 MB."""

_ENCODE = Name("_codecs.encode")  # how Python 3 writes bytes in protocols 0 to 2

_MAX_ARGUMENTS = 16  # of a call: a tuple that is recalled from the memo for many calls is copied for each


def load(data: bytes | mmap.mmap, name: str, contents: Contents | None = None) -> Any:
    """The value that a pickle of protocol 0 to 5 holds; bytes after its end are ignored, as `pickle.load` does.

    Args:
        data: the whole file.
        name: what to call it in the message of an error.
        contents: what the file may hold; None for bytes, numbers, text, lists, tuples and arrays alone.

    Returns:
        bytes (also for Python 2's `str`), str, int, bool, None, PickledArray, or lists and tuples of them, and what
        `contents` adds. NumPy's scalars come as Python's. What the file holds once and names often is one object.

    Raises:
        DataError, or the error of `contents`: the file asks for anything else, is cut or no pickle; the message has
            the byte.
    """
    return load_next(data, 0, name, contents)[0]


def load_next(data: bytes | mmap.mmap, start: int, name: str, contents: Contents | None = None) -> tuple[Any, int]:
    """As `load`, of the pickle that starts at a byte; and the byte after its end."""
    machine = _Machine(data, start, name, contents or Contents())
    return machine.run(), machine.at


class _Machine(Operands):
    def __init__(self, data: bytes | mmap.mmap, start: int, name: str, contents: Contents):
        super().__init__(data, start, name, contents)
        self.stack: list[Any] = []
        self.marks: list[int] = []  # heights of the stack
        self.memo: dict[int, Any] = {}
        self.encoded = 0
        self.names = {_ENCODE.text: _ENCODE, **ARRAY_NAMES, **contents.names}

    def run(self) -> Any:
        limit = self.contents.instructions or INSTRUCTION_LIMIT
        for _ in range(limit):
            self.start = self.at
            if self.at == len(self.data):
                raise self.error("the pickle has no end; the file was cut: copy it again")
            instruction = self.take(1)
            if instruction == pickle.STOP:
                value = self.pop()
                if self.stack or self.marks:
                    raise self.error(f"the pickle ends with values left over; {DAMAGED}")
                return value
            self.execute(instruction)
        raise self.error(f"more than {limit:,} instructions, the limit; {self.contents.fewer}")

    def execute(self, instruction: bytes) -> None:
        if instruction in _PUSHES:
            self.stack.append(_PUSHES[instruction](self))
        elif instruction in _STORES:
            self.memo[_STORES[instruction](self)] = self.top()
        elif instruction in _MAPPINGS:
            what, step = _MAPPINGS[instruction]
            if not self.contents.mappings:
                raise self.refusal(what)
            step(self)
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
                case pickle.PERSID:
                    self.stack.append(self.persistent(self.text(self.line())))
                case pickle.BINPERSID:
                    self.stack.append(self.persistent(self.pop()))
                case pickle.PROTO:
                    self.take(1)
                case pickle.FRAME:
                    self.take(8)
                case _:
                    raise self.error(f"{instruction[0]:#04x} is no instruction of a pickle; {DAMAGED}")

    # The stack and the memo

    def top(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise self.error(f"an instruction lacks its value; {DAMAGED}")
        return self.stack[-1]

    def pop(self) -> Any:
        self.top()
        return self.stack.pop()

    def above_mark(self) -> list[Any]:
        if not self.marks:
            raise self.error(f"an instruction lacks its values; {DAMAGED}")
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def extend(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise self.error(f"values are appended to what is no list; {DAMAGED}")
        target.extend(values)

    def recall(self, number: int) -> Any:
        if number not in self.memo:
            raise self.error(f"a stored value is recalled that was never stored; {DAMAGED}")
        return self.memo[number]

    # Dicts

    def push_dict(self) -> None:
        values = self.above_mark()
        self.stack.append({})
        self.set_items(values)

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def set_items(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, dict) or len(values) % 2:
            raise self.error(f"keys and values are set in what is no dict; {DAMAGED}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            match key:
                case str() | bytes():
                    target[key] = value
                case int() if abs(key) < INDEX_LIMIT:
                    target[key] = value
                case _:
                    raise self.error(f"a dict with a key that is no text and no whole number; {self.only}")

    # Names

    def named(self, name: Any, module: Any) -> Name:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise self.error(f"a name that is no text; {DAMAGED}")
        full = f"{module.replace('numpy._core', 'numpy.core')}.{name}"
        if full not in self.names:
            raise self.refusal(f"{shown(module)}.{shown(name)}")
        return self.names[full]

    def call(self, arguments: Any, function: Any) -> Any:
        if not isinstance(function, Name):
            raise self.error(f"a call of what is no function; {DAMAGED}")
        step = self.encode if function is _ENCODE else function.call
        if step is None or not isinstance(arguments, tuple) or len(arguments) > _MAX_ARGUMENTS:
            raise self.foreign(other_arguments(function.text))
        try:
            return step(*arguments)
        except ForeignError as error:
            raise self.foreign(error) from None

    def fill(self, target: Any, state: Any) -> None:
        """Give an array or a dtype its state; that of a dict, such as the versions of a state dict, is not kept."""
        if isinstance(target, dict):
            return
        if not hasattr(target, "fill"):
            raise self.error(f"the state of what is no plain NumPy array; {DAMAGED}")
        try:
            target.fill(state)
        except ForeignError as error:
            raise self.foreign(error) from None

    def persistent(self, value: Any) -> Any:
        if self.contents.persistent is None:
            raise self.refusal("a persistent id")
        try:
            return self.contents.persistent(value)
        except ForeignError as error:
            raise self.foreign(error) from None

    def encode(self, *arguments: Any) -> bytes:
        match arguments:
            case (str() as text, "latin1"):
                self.encoded += len(text)
            case _:
                raise other_arguments(_ENCODE.text)
        if self.encoded > len(self.data):
            raise self.error("more text to encode than the file is long; the file is a bomb or damaged")
        try:
            return text.encode("latin-1")
        except UnicodeEncodeError:
            raise self.error(f"bytes written as text that is not Latin-1; {DAMAGED}") from None


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
    pickle.GET: lambda m: m.recall(m.index()),
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
    pickle.PUT: lambda m: m.index(),
    pickle.BINPUT: lambda m: m.unsigned(1),
    pickle.LONG_BINPUT: lambda m: m.unsigned(4),
}
# What each does where dicts and floats are allowed, and what to call it where they are not.
_MAPPINGS: dict[bytes, tuple[str, Callable[[_Machine], None]]] = {
    pickle.FLOAT: ("a float", lambda m: m.stack.append(m.real())),
    pickle.BINFLOAT: ("a float", lambda m: m.stack.append(struct.unpack(">d", m.take(8))[0])),
    pickle.EMPTY_DICT: ("a dict", lambda m: m.stack.append({})),
    pickle.DICT: ("a dict", lambda m: m.push_dict()),
    pickle.SETITEM: ("a dict", lambda m: m.set_item()),
    pickle.SETITEMS: ("a dict", lambda m: m.set_items(m.above_mark())),
}
_REFUSED = {
    pickle.EMPTY_SET: "a set",
    pickle.FROZENSET: "a set",
    pickle.OBJ: "an object of a class",
    pickle.NEWOBJ: "an object of a class",
    pickle.NEWOBJ_EX: "an object of a class",
    pickle.EXT1: "an extension code",
    pickle.EXT2: "an extension code",
    pickle.EXT4: "an extension code",
    pickle.NEXT_BUFFER: "a buffer outside the file",
}
