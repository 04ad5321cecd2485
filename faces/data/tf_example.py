"""One record of a TFDS dataset, a `tf.train.Example`, read without TensorFlow.

An Example is a protocol buffer of messages within messages: Example, Features, an entry of a name and a Feature for
each, and the Feature's list of values. What is read here are values of bytes and text; on the way to them every field
is a number, a length and so many bytes.

Not here: writing records and reading their files (`preparing.py`, `prepared.py`).
"""

from collections.abc import Iterator

_BYTES = 2  # the kind of field that is a length and so many bytes


def bytes_feature(record: bytes, name: str) -> bytes:
    """The first value of the feature `name`, which is bytes or text.

    Raises:
        ValueError: the record is no Example, or has no such value.
    """
    wanted = name.encode()
    for features in _fields(record, 0, len(record), 1):
        for entry in _fields(record, *features, 1):
            key = next(_fields(record, *entry, 1), None)
            if key is not None and record[slice(*key)] == wanted:
                for feature in _fields(record, *entry, 2):
                    for values in _fields(record, *feature, 1):
                        for value in _fields(record, *values, 1):
                            return record[slice(*value)]
    raise ValueError(f"no feature {name!r} in it")


def _fields(record: bytes, at: int, end: int, number: int) -> Iterator[tuple[int, int]]:
    """Where the fields of this number start and end, within the message from `at` to `end`."""
    while at < end:
        tag = record[at]  # one byte up to field 15
        length, at = _whole_number(record, at + 1)
        if tag & 7 != _BYTES or tag > 127 or at + length > end:
            raise ValueError("not an Example")
        if tag >> 3 == number:
            yield at, at + length
        at += length


def _whole_number(record: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends."""
    number = shift = 0
    while at < len(record) and shift < 64:
        byte = record[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
    raise ValueError("not an Example")
