"""Pickles read as data: no name in the file is looked up, and nothing is called.

A pickle is a program for a small stack machine. Nearly all of its instructions push bytes, numbers and lists. A few
look a Python object up by name and call it, and through them a pickle runs any command it likes. This is the same
machine without a way out: the handful of names that the writers of a kind of file use stand for steps written here.
Any other name ends the reading, or, where the caller has use for the rest, stands for a thing of which nothing is known
(`Opaque`): it can be named, and neither looked up nor made.

`pickle.Unpickler` with a `find_class` of ours would keep names out, but not bombs: a memo index of 2^31 in a file of
ten bytes makes it fill 32 GiB, and NumPy's own constructor allocates whatever shape the file asks for. Here every
declared size is compared with the bytes that are left before anything is read, an array is a view of the file's bytes,
the text to encode may not exceed the file's length, and the number of instructions is bounded. Nothing recurses, so
that a list that holds itself, or one list twice a thousand levels deep, costs no more than its instructions; and what
may be the key of a dict is hashed in one step.

Not here: the instructions and their operands (`pickle_instructions.py`, `pickle_operands.py`), NumPy's names
(`pickled_arrays.py`), those of other libraries (`faces/weights/`), what the values mean.
"""

import mmap
import pickle  # for the names of the instructions alone
from collections.abc import Callable
from typing import Any

from faces.unpickle.pickle_instructions import MAPPINGS, OBJECTS, PUSHES, STORES
from faces.unpickle.pickle_operands import DAMAGED, INDEX_LIMIT, Contents, Operands
from faces.unpickle.pickled_arrays import (
    ARRAY_NAMES,
    ForeignError,
    Name,
    Opaque,
    PickledArray,
    RefusedError,
    other_arguments,
    shown,
)

__all__ = ["INSTRUCTION_LIMIT", "Contents", "Opaque", "PickledArray", "load", "load_next"]

INSTRUCTION_LIMIT = 1_000_000
"""InsightFace's files take five a pair. So many empty lists, the dearest of values but for bytes of the file, take
75 MB."""

_ENCODE = Name("_codecs.encode")  # how Python 3 writes bytes in protocols 0 to 2

_LONGEST_NAME = 200  # of those that are known: longer ones are not put together again and again
_ODD_KEY = Opaque("a dict with a key that is no text and no whole number", 0)
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
    machine = Machine(data, start, name, contents or Contents())
    return machine.run(), machine.at


class Machine(Operands):
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
        if instruction in PUSHES:
            self.stack.append(PUSHES[instruction](self))
        elif instruction in STORES:
            self.memo[STORES[instruction](self)] = self.top()
        elif instruction in MAPPINGS:
            what, step = MAPPINGS[instruction]
            if not self.contents.mappings:
                raise self.refusal(what)
            step(self)
        elif instruction in OBJECTS:
            what, taken = OBJECTS[instruction]
            if not self.contents.opaque:
                raise self.refusal(what)
            maker = [*taken(self), None][0]
            self.stack.append(Opaque(maker.what if isinstance(maker, Opaque) else what, self.start))
        else:
            match instruction:
                case pickle.MARK:
                    self.marks.append(len(self.stack))
                case pickle.APPEND:
                    self.extend([self.pop()])
                case pickle.APPENDS | pickle.ADDITEMS:
                    self.extend(self.above_mark())
                case pickle.NEXT_BUFFER:
                    raise self.refusal("a buffer outside the file")
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
        if isinstance(target, Opaque):
            return
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
        if isinstance(target, Opaque):
            target.items = target = {} if target.items is None else target.items
        if not isinstance(target, dict) or len(values) % 2:
            raise self.error(f"keys and values are set in what is no dict; {DAMAGED}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            match key:
                case str() | bytes():
                    target[key] = value
                case int() if abs(key) < INDEX_LIMIT:
                    target[key] = value
                case _ if self.contents.opaque:  # hashing another key could take long, or go round in a circle
                    target[_ODD_KEY] = value
                case _:
                    only = self.contents.only
                    raise self.error(f"a dict with a key that is no text and no whole number; {only}")

    # Names

    def named(self, name: Any, module: Any) -> Name | Opaque:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise self.error(f"a name that is no text; {DAMAGED}")
        if len(module) + len(name) < _LONGEST_NAME:
            full = f"{module.replace('numpy._core', 'numpy.core')}.{name}"
            if full in self.names:
                return self.names[full]
        return self.opaque(f"{shown(module)}.{shown(name)}")

    def instance(self, name: Any, module: Any) -> Name | Opaque:
        """A call as old protocols write it, its arguments on the stack; where it is refused, the name is enough."""
        named = self.named(name, module)
        return self.call(tuple(self.above_mark()), named) if isinstance(named, Opaque) else named

    def opaque(self, what: str) -> Opaque:
        if not self.contents.opaque:
            raise self.refusal(what)
        return Opaque(what, self.start)

    def call(self, arguments: Any, function: Any) -> Any:
        if isinstance(function, Opaque):
            return Opaque(function.what, self.start)
        if not isinstance(function, Name):
            raise self.error(f"a call of what is no function; {DAMAGED}")
        step = self.encode if function is _ENCODE else function.call
        if step is None or not isinstance(arguments, tuple) or len(arguments) > _MAX_ARGUMENTS:
            raise self.foreign(other_arguments(function.text))
        unknown = next((argument for argument in arguments if isinstance(argument, Opaque)), None)
        if unknown is not None:
            return Opaque(f"{function.text} of {shown(unknown.what)}", unknown.byte)
        return self.tried(step, *arguments)

    def tried(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """What a step of ours makes, or what is refused of it."""
        try:
            return step(*arguments)
        except RefusedError as error:
            return self.opaque(str(error))
        except ForeignError as error:
            raise self.foreign(error) from None

    def fill(self, target: Any, state: Any) -> None:
        """Give an array or a dtype its state; that of a dict, such as the versions of a state dict, is not kept."""
        if isinstance(target, (dict, Opaque)):
            return
        if isinstance(target, PickledArray) and isinstance(state, tuple) and any(isinstance(x, Opaque) for x in state):
            return  # of a dtype that is not known: the array stays without values
        if not hasattr(target, "fill"):
            raise self.error(f"the state of what is no plain NumPy array; {DAMAGED}")
        try:
            target.fill(state)
        except ForeignError as error:
            raise self.foreign(error) from None

    def persistent(self, value: Any) -> Any:
        if self.contents.persistent is None:
            raise self.refusal("a persistent id")
        return self.tried(self.contents.persistent, value)

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
