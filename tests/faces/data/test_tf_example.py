"""Features of bytes in records as TFDS writes them, and in damaged ones."""

import numpy as np
import pytest

from faces.data.preparing import FEATURES
from faces.data.tf_example import bytes_feature
from tests.faces.data.makers import encoded, picture

IMAGE = encoded(picture(0, height=40, width=30))  # its length takes two bytes


def record(image: bytes = IMAGE, source: str = "Zoë Å/1.png") -> bytes:
    example = {"image": image, "identity": 70_000, "identity_name": "Zoë Å", "source": source}
    return FEATURES.serialize_example(FEATURES.encode_example(example))


@pytest.mark.parametrize("length", [1, 127, 128, 20_000, 3_000_000])
def test_values_of_any_length(length):
    source = "x" * length
    given = record(source=source)
    assert bytes_feature(given, "source") == source.encode()
    assert bytes_feature(given, "image") == IMAGE
    assert bytes_feature(given, "identity_name") == "Zoë Å".encode()


def test_what_is_not_there():
    with pytest.raises(ValueError, match="no feature 'colour'"):
        bytes_feature(record(), "colour")
    with pytest.raises(ValueError, match="no feature 'image'"):
        bytes_feature(b"", "image")


def test_a_cut_record_is_refused():
    given = record()
    for length in range(1, len(given)):
        with pytest.raises(ValueError, match=r"not an Example|no feature"):
            for name in ("image", "source", "identity_name", "missing"):
                bytes_feature(given[:length], name)


def test_changed_bytes_never_escape_as_another_error():
    random = np.random.default_rng(0)
    for _ in range(500):
        changed = bytearray(record())
        for position in random.integers(0, 120, 3):
            changed[position] = random.integers(256)
        try:
            assert isinstance(bytes_feature(bytes(changed), "source"), bytes)
        except ValueError:
            continue


def test_numbers_without_end_are_refused():
    with pytest.raises(ValueError, match="not an Example"):
        bytes_feature(b"\xff" * 1000, "image")
    with pytest.raises(ValueError, match="not an Example"):
        bytes_feature(b"\x0a" + b"\xff" * 8 + b"\x01", "image")
