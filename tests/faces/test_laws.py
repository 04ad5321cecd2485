"""The laws of the readers, on inputs that Hypothesis draws: what was written comes back, anything else is refused in a
sentence by an error of ours, and the same bytes give the same answer."""

import io
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.io import savemat

from faces import opening
from faces.cache import Cache
from faces.data import lfw
from faces.data.images import decode_image, encode_png
from faces.data.mat_file import read_mat
from faces.data.megaface import read_feature, write_feature
from faces.data.pair_bin import read_pair_bin
from faces.data.recordio import RecordFile
from faces.data.tf_example import bytes_feature
from faces.errors import DataError, FacesError, ImageError
from faces.printable import LONGEST, on_one_line
from faces.toml_config import read_toml
from faces.weights import read_weights
from tests.faces.data.makers import MAGIC, packed, write_rec

law = settings(
    derandomize=True, deadline=None, max_examples=40, database=None, suppress_health_check=[HealthCheck.too_slow]
)
BYTES = st.binary(max_size=200)
LETTERS = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"], exclude_characters="/\\:")
NAMES = st.text(LETTERS, min_size=1, max_size=12)
PAYLOADS = st.lists(st.one_of(BYTES, st.just(MAGIC), st.just(b"ab")), max_size=6).map(b"".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("laws")


def told(read: Callable[[Path], Any], path: Path) -> str:
    """What a reader says of a file: its refusal, or nothing."""
    try:
        read(path)
    except FacesError as error:
        assert str(path.with_suffix("")) in str(error) and str(error).endswith(".")
        return str(error)
    return ""


@law
@given(arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))))
def test_pixels_come_back(pixels: np.ndarray):
    np.testing.assert_array_equal(decode_image(encode_png(pixels), "x"), pixels)


HEADS = (
    *(b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"RIFF\0\0\0\0WEBPVP8X", b"GIF89a", b"P6 2 2 255\n"),
    *(b"II*\0\x08\0\0\0", b"\xff\x4f\xff\x51", b"BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0"),
)


@law
@given(st.sampled_from(HEADS), BYTES)
def test_any_bytes_are_an_image_or_none(head: bytes, tail: bytes):
    answers = []
    for _ in range(2):
        try:
            answers.append(decode_image(head + tail, "x").tobytes())
        except ImageError as error:
            answers.append(str(error))
    assert answers[0] == answers[1]


@law
@given(st.lists(st.tuples(st.integers(0, 2**24 - 1), PAYLOADS), min_size=1, max_size=8))
def test_records_come_back(folder: Path, records: list[tuple[int, bytes]]):
    content = {key: packed(float(label), payload) for key, (label, payload) in enumerate(records, start=1)}
    file = RecordFile(write_rec(folder / "a.rec", content))
    assert [(one.identity, one.payload) for one in file] == records
    assert file.keys.tolist() == list(content)


@law
@given(BYTES, BYTES, st.booleans())
def test_any_bytes_are_records_or_none(folder: Path, index: bytes, records: bytes, sound: bool):
    path = folder / "b.rec"
    path.write_bytes(packed(0.0, b"x") if sound else MAGIC + records)
    path.with_suffix(".idx").write_bytes(b"1\t0\n" + index)
    first, again = (told(lambda path: [*RecordFile(path)], path) for _ in range(2))
    assert first == again


@law
@given(st.lists(st.binary(min_size=1, max_size=8), min_size=40, max_size=40), st.integers(0, 5), BYTES)
def test_pairs_come_back_whatever_follows(folder: Path, images: list[bytes], protocol: int, tail: bytes):
    path = folder / "pairs.bin"
    same = [True, False] * 10
    path.write_bytes(pickle.dumps((images, same), protocol) + tail)
    pairs = read_pair_bin(path)
    assert [pairs.encoded[place] for place in pairs.first] == images[::2]
    assert [pairs.encoded[place] for place in pairs.second] == images[1::2]
    assert pairs.same.tolist() == same


@law
@given(BYTES)
def test_any_bytes_are_pairs_or_none(folder: Path, data: bytes):
    path = folder / "any.bin"
    path.write_bytes(data)
    assert told(read_pair_bin, path) == told(read_pair_bin, path)


@law
@given(st.lists(st.tuples(NAMES, NAMES, st.integers(1, 9999)), min_size=1, max_size=4))
def test_pair_lists_come_back(folder: Path, people: list[tuple[str, str, int]]):
    path = folder / "pairs.txt"
    same = [f"{name}\t{number}\t{number}\n" for name, _, number in people]
    two = [f"{name}\t{number}\t{other}\t{number}\n" for name, other, number in people]
    path.write_text(f"{len(people)}\n{''.join(same)}{''.join(two)}", "utf-8")
    if any(name in (".", "..") for pair in people for name in pair[:2]):
        assert told(lfw.read_pairs, path)
        return
    pairs = lfw.read_pairs(path)
    listed = [f"{name}/{name}_{number:04d}.jpg" for name, _, number in people]
    assert list(pairs.first) == listed * 2
    assert list(pairs.second)[len(people) :] == [f"{other}/{other}_{number:04d}.jpg" for _, other, number in people]


@law
@given(arrays(st.sampled_from(["<f8", "<i4", "u1"]), array_shapes(min_dims=2, max_dims=3, max_side=5),
              elements={"min_value": 0, "max_value": 100}), st.booleans())  # fmt: skip
def test_variables_of_matlab_come_back(folder: Path, array: np.ndarray, compress: bool):
    stream = io.BytesIO()
    savemat(stream, {"x": array}, do_compression=compress)
    path = folder / "a.mat"
    path.write_bytes(stream.getvalue())
    np.testing.assert_array_equal(np.asarray(read_mat(path, ["x"])["x"]), array)
    path.write_bytes(stream.getvalue()[:-1])
    assert told(lambda path: read_mat(path, ["x"]), path)


@law
@given(st.dictionaries(st.sampled_from(["image", "source", "other"]), st.binary(max_size=300)), BYTES)
def test_features_come_back_and_any_bytes_have_none(values: dict[str, bytes], data: bytes):
    def field(number: int, content: bytes) -> bytes:
        low, high = len(content) & 127, len(content) >> 7
        return bytes([number << 3 | 2, *([low | 128, high] if high else [low])]) + content

    entries = [field(1, key.encode()) + field(2, field(1, field(1, value))) for key, value in values.items()]
    record = field(1, b"".join(field(1, entry) for entry in entries))
    for key, value in values.items():
        assert bytes_feature(record, key) == value
    try:
        assert isinstance(bytes_feature(data, "image"), bytes)
    except ValueError as error:
        assert "not an Example" in str(error) or "no feature" in str(error)


@law
@given(arrays(np.float32, st.integers(1, 40)), st.binary(min_size=1, max_size=9))
def test_features_in_files_come_back(folder: Path, feature: np.ndarray, tail: bytes):
    path = folder / "f.bin"
    write_feature(path, feature)
    np.testing.assert_array_equal(read_feature(path), feature)
    path.write_bytes(path.read_bytes() + tail)
    assert "bytes, but a feature" in told(read_feature, path)


@law
@given(JSON)
def test_json_comes_back(content: Any):
    assert opening.parse_json(json.dumps(content)) == content


@law
@given(st.text("[]{}\"',:=.\n#1ae-_ ", max_size=120))
def test_any_text_is_toml_or_none(folder: Path, text: str):
    path = folder / "a.toml"
    path.write_text(text, "utf-8")
    assert told(read_toml, path) == told(read_toml, path)


@law
@given(st.dictionaries(st.binary(min_size=32, max_size=32), arrays(np.float32, st.integers(0, 5))), BYTES)
def test_a_cache_comes_back_and_any_bytes_are_none(folder: Path, vectors: dict[bytes, np.ndarray], data: bytes):
    path = folder / "cache.npz"
    path.unlink(missing_ok=True)
    cache = Cache(path)
    for key, vector in vectors.items():
        cache.put(key, vector)
    cache.save()
    for key, vector in vectors.items():
        np.testing.assert_array_equal(Cache(path).get(key), vector)
    path.write_bytes(data)
    assert "not a cache that was written here, or damaged" in told(Cache, path)


@law
@given(st.dictionaries(NAMES, arrays(np.float32, array_shapes(max_dims=3, max_side=4)), min_size=1, max_size=4))
def test_weights_come_back(folder: Path, tensors: dict[str, np.ndarray]):
    path = folder / "w.npz"
    stream = io.BytesIO()
    np.savez(stream, **{f"t{number}": tensor for number, tensor in enumerate(tensors.values())})
    path.write_bytes(stream.getvalue())
    for read, tensor in zip(read_weights(path).values(), tensors.values(), strict=True):
        np.testing.assert_array_equal(read, tensor)


@law
@given(st.text(max_size=3 * LONGEST) | st.characters().map(lambda letter: letter * 2 * LONGEST))
def test_an_error_is_one_line_that_a_person_reads(text: str):
    shown = str(DataError(text))
    assert len(shown) <= 10 * (LONGEST + 10) and len(shown.splitlines()) < 2
    assert not set(shown.encode()) & {*range(9), *range(10, 32), 127}
    if len(text) <= LONGEST:
        assert shown == on_one_line(text)


def test_a_header_of_a_feature_is_four_numbers(folder: Path):
    (folder / "g.bin").write_bytes(struct.pack("<4i", 2**31 - 1, 1, 4, 5))
    assert "a feature of 2,147,483,647 numbers has" in told(read_feature, folder / "g.bin")
