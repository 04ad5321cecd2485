"""Changes to the bytes of a file, as accidents and enemies make them.

Cut, flipped, overwritten, inserted, removed, repeated and spliced bytes, inflated counts, deep nesting; and for zip
files the same inside a member, with the checksums put right again, and in the directory.

Not here: the readers of the changed files, and what is demanded of them (`fuzz_weights.py`).
"""

import io
import struct
import zipfile
from collections.abc import Callable, Iterable

import numpy as np

from tests.faces.weights import makers

LARGEST = 2**23  # bytes to which a change may let a file grow

_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
_NESTING = (
    b"[",
    b'{"a":',
    b"(",
    b"((",
    b"]",
    b"}",
    b"N\x85",
    b"\x85",
    b"\x0a\x7f",
    b"\x3a\x7f",
    b"\x2a\x7f",
    b"2",
    b"\x94",
)

Change = Callable[[np.random.Generator, bytes], bytes]


def _place(rng: np.random.Generator, data: bytes, longest: int = 64) -> tuple[int, int]:
    """A random stretch of a file; half of them lie in its first 256 bytes, where the headers are."""
    at = int(rng.integers(max(1, min(len(data), 256) if rng.random() < 0.5 else len(data))))
    return at, min(len(data), at + int(rng.integers(1, longest + 1)))


def cut(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: int(rng.integers(len(data) + 1))]


def flip(rng: np.random.Generator, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.integers(1, 9) if data else 0):
        at, _ = _place(rng, data)
        changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def overwrite(rng: np.random.Generator, data: bytes) -> bytes:
    at, end = _place(rng, data, 16)
    return data[:at] + rng.bytes(end - at) + data[end:]


def insert(rng: np.random.Generator, data: bytes) -> bytes:
    at, _ = _place(rng, data)
    start, end = _place(rng, data)
    new = data[start:end] if rng.random() < 0.5 else rng.bytes(int(rng.integers(1, 17)))
    return data[:at] + new + data[at:]


def remove(rng: np.random.Generator, data: bytes) -> bytes:
    at, end = _place(rng, data)
    return data[:at] + data[end:]


def repeat(rng: np.random.Generator, data: bytes) -> bytes:
    at, end = _place(rng, data, 200)
    times = min(int(10 ** rng.uniform(0.3, 4)), LARGEST // (end - at + 1))
    return data[:at] + data[at:end] * times + data[end:]


def splice(rng: np.random.Generator, data: bytes) -> bytes:
    """The head of a file and the tail of it, cut elsewhere."""
    return data[: int(rng.integers(len(data) + 1))] + data[int(rng.integers(len(data) + 1)) :]


def inflate(rng: np.random.Generator, data: bytes) -> bytes:
    """A number of 1 to 8 bytes, of digits or of a protocol buffer becomes an extreme one."""
    value = _EXTREMES[rng.integers(len(_EXTREMES))]
    at, _ = _place(rng, data)
    match rng.integers(3):
        case 0:
            new = struct.pack("<Q", value)[: 2 ** int(rng.integers(4))]
            return data[:at] + new + data[at + len(new) :]
        case 1:
            digits = [place for place in range(at, len(data)) if data[place : place + 1].isdigit()][:1]
            return data[: digits[0]] + str(value).encode() + data[digits[0] + 1 :] if digits else data
        case _:
            new = bytearray()
            while value > 127:
                new.append(value & 127 | 128)
                value >>= 7
            return data[:at] + bytes(new) + bytes([value]) + data[at + 1 :]


def nest(rng: np.random.Generator, data: bytes) -> bytes:
    at, _ = _place(rng, data)
    return data[:at] + _NESTING[rng.integers(len(_NESTING))] * int(10 ** rng.uniform(1, 4.5)) + data[at:]


def inside(rng: np.random.Generator, data: bytes) -> bytes:
    """Members of a zip file changed, doubled, dropped or packed otherwise, in a sound zip file."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:  # an earlier change has damaged it
        return data
    number = int(rng.integers(len(members)))
    name, content = members[number]
    match rng.integers(8):
        case 0:
            members.pop(number)
        case 1:
            members[number] = name, members[rng.integers(len(members))][1]
        case 2:
            members[number] = "../" * int(rng.integers(4)) + name[int(rng.integers(len(name))) :], content
        case _:
            members[number] = name, _PLAIN[rng.integers(len(_PLAIN))](rng, content)
    method = (zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)[rng.integers(4)]
    return makers.zipped(dict(members), method)


def directory(rng: np.random.Generator, data: bytes) -> bytes:
    """A number in the directory of a zip file, in the header of a member or at its end becomes another."""
    signs = (b"PK\x01\x02", b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06")
    sign = signs[rng.integers(len(signs))]
    places = [at for at in range(len(data)) if data.startswith(sign, at)]
    if not places:
        return data
    at = places[rng.integers(len(places))] + 4 + 2 * int(rng.integers(21))
    size = 2 * int(rng.integers(1, 3))
    value = int(rng.choice([0, 1, 2, 8, 9, 14, 0xFFFF, 2**31, 2**32 - 1, int(rng.integers(len(data) + 1))]))
    return data[:at] + struct.pack("<Q", value)[:size] + data[at + size :]


_PLAIN: tuple[Change, ...] = (cut, flip, overwrite, insert, remove, repeat, splice, inflate, nest)
_ZIP: tuple[Change, ...] = (inside, inside, inside, directory, directory)


def damaged(sound: list[bytes], files: int, seed: int) -> Iterable[tuple[str, bytes]]:
    """Name and bytes of so many changed files."""
    for number in range(files):
        rng = np.random.default_rng([seed, number])
        data = sound[rng.integers(len(sound))]
        changes = (*_PLAIN, *_ZIP) if data.startswith(b"PK") else _PLAIN
        names = []
        for _ in range(1 + int(rng.random() < 0.3) + int(rng.random() < 0.1)):
            change = changes[rng.integers(len(changes))]
            names.append(change.__name__)
            data = change(rng, data)[:LARGEST] if data else data
        yield f"{number} ({', '.join(names)})", data
