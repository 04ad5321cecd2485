"""The instructions of a pickle, each with the step of the machine that stands for it.

Not here: the machine (`restricted_pickle.py`), and the bytes that the instructions take (`pickle_operands.py`).
"""

import pickle  # for the names of the instructions alone
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faces.unpickle.restricted_pickle import Machine

_OBJECT = "an object of a class"
_EXTENSION = "an extension code"

# What each instruction pushes. Operands are written in the order in which they are taken from the file or the stack.
PUSHES: dict[bytes, Callable[["Machine"], Any]] = {
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
    pickle.INST: lambda m: m.instance(module=m.text(m.line()), name=m.text(m.line())),
    pickle.STACK_GLOBAL: lambda m: m.named(name=m.pop(), module=m.pop()),
    pickle.REDUCE: lambda m: m.call(arguments=m.pop(), function=m.pop()),
}
# The number under which each stores the top of the stack.
STORES: dict[bytes, Callable[["Machine"], int]] = {
    pickle.MEMOIZE: lambda m: len(m.memo),
    pickle.PUT: lambda m: m.index(),
    pickle.BINPUT: lambda m: m.unsigned(1),
    pickle.LONG_BINPUT: lambda m: m.unsigned(4),
}
# What each does where dicts and floats are allowed, and what to call it where they are not.
MAPPINGS: dict[bytes, tuple[str, Callable[["Machine"], None]]] = {
    pickle.FLOAT: ("a float", lambda m: m.stack.append(m.real())),
    pickle.BINFLOAT: ("a float", lambda m: m.stack.append(struct.unpack(">d", m.take(8))[0])),
    pickle.EMPTY_DICT: ("a dict", lambda m: m.stack.append({})),
    pickle.DICT: ("a dict", lambda m: m.push_dict()),
    pickle.SETITEM: ("a dict", lambda m: m.set_item()),
    pickle.SETITEMS: ("a dict", lambda m: m.set_items(m.above_mark())),
}
# What makes objects: what to call it, and what it takes from the file and the stack, the maker first.
OBJECTS: dict[bytes, tuple[str, Callable[["Machine"], list[Any]]]] = {
    pickle.EMPTY_SET: ("a set", lambda m: []),
    pickle.FROZENSET: ("a set", lambda m: [None, *m.above_mark()]),
    pickle.OBJ: (_OBJECT, lambda m: m.above_mark()),
    pickle.NEWOBJ: (_OBJECT, lambda m: [m.pop(), m.pop()][::-1]),
    pickle.NEWOBJ_EX: (_OBJECT, lambda m: [m.pop(), m.pop(), m.pop()][::-1]),
    pickle.EXT1: (_EXTENSION, lambda m: [None, m.take(1)]),
    pickle.EXT2: (_EXTENSION, lambda m: [None, m.take(2)]),
    pickle.EXT4: (_EXTENSION, lambda m: [None, m.take(4)]),
}
