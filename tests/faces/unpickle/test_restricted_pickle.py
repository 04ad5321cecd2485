"""The pickle reader against Python's own, files of Python 2, attacks, bombs, cuts and random damage."""

import pickle
import struct
import tracemalloc

import numpy as np
import pytest

from faces.errors import DataError
from faces.unpickle import restricted_pickle
from faces.unpickle.restricted_pickle import PickledArray, load
from tests.faces.data.pair_makers import attacks

VALUES = [
    ([b"\xff\xd8abc\n\\'\"\x00", bytes(range(256)), b"x" * 300], [True, False]),
    (0, -1, 255, 65_535, 2**31 - 1, -(2**31), 2**40, -(2**70), 2**3000, None),
    ("text \u1234\n'\\", "", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [[1], [2, [3]]]),
    np.arange(7, dtype=np.uint8),
    np.array([True, False, True]),
    np.arange(6, dtype=">i4").reshape(2, 3),
    np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 4)),
    ([np.frombuffer(b"\xff\xd8\xff", np.uint8)], [np.bool_(True), np.bool_(False), np.int64(-5)]),
]
PYTHON_2 = [
    # (["\xff\xd8'\n\\", "b" * 2], [True, False]) as Python 2 writes it in protocols 0, 1 and 2
    b"((lp0\nS\"\\xff\\xd8'\\n\\\\\"\np1\naS'bb'\np2\na(lp3\nI01\naI00\natp4\n.",
    b"(]q\x00(U\x05\xff\xd8'\n\\q\x01T\x02\x00\x00\x00bbq\x02e]q\x03(I01\nI00\netq\x04.",
    b"\x80\x02]q\x00(U\x05\xff\xd8'\n\\q\x01U\x02bbq\x02e]q\x03(\x88\x89e\x86q\x04.",
]
PYTHON_2_ARRAY = (
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nq\x01K\x00\x85q\x02U\x01bq\x03\x87q\x04Rq\x05"
    b"(K\x01K\x02\x85q\x06cnumpy\ndtype\nq\x07U\x02u1q\x08K\x00K\x01\x87q\tRq\n(K\x03U\x01|q\x0bNNNJ\xff\xff\xff\xff"
    b"J\xff\xff\xff\xffK\x00tq\x0cb\x89U\x02\xff\xd8q\rtq\x0eb."
)


def plain(value):
    """A value with its arrays as (byte order, shape, content), for comparison."""
    if isinstance(value, PickledArray):
        value = value.array
    if isinstance(value, np.ndarray):
        return value.dtype.newbyteorder("S").newbyteorder("S").str, value.shape, value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return type(value)(plain(one) for one in value) if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("protocol", range(6))
def test_agrees_with_python(protocol):
    for value in VALUES:
        read = load(pickle.dumps(value, protocol), "x.bin")
        assert plain(read) == plain(value)
        assert type(read) is (PickledArray if isinstance(value, np.ndarray) else type(value))


@pytest.mark.parametrize("data", PYTHON_2)
def test_python_2_strings_are_bytes(data):
    assert pickle.loads(data, encoding="bytes") == ([b"\xff\xd8'\n\\", b"bb"], [True, False])
    assert load(data, "x.bin") == ([b"\xff\xd8'\n\\", b"bb"], [True, False])


def test_python_2_array():
    np.testing.assert_array_equal(pickle.loads(PYTHON_2_ARRAY, encoding="bytes"), [255, 216])
    np.testing.assert_array_equal(load(PYTHON_2_ARRAY, "x.bin").array, [255, 216])


def test_arrays_are_views_and_shared_values_are_one_object():
    image = np.arange(100_000, dtype=np.uint8)
    first, second = load(pickle.dumps([image, image]), "x.bin")
    assert first is second
    assert not first.array.flags.owndata and not first.array.flags.writeable
    data = b"x" * 1000
    first, second = load(pickle.dumps((data, data)), "x.bin")
    assert first is second


def test_nothing_is_executed(tmp_path):
    marker = tmp_path / "marker"
    for name, pickles in attacks(marker).items():
        for data in pickles:
            pickle.loads(data)
            assert marker.exists(), f"{data!r} is no attack"
            marker.unlink()
            with pytest.raises(DataError) as caught:
                load(data, "lfw.bin")
            message = str(caught.value)
            assert f"asks for {name};" in message
            assert message.startswith("lfw.bin, byte ") and message.endswith("nothing was executed.")
            assert not marker.exists()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (pickle.dumps({}), "a dict"),
        (pickle.dumps({1}), "a set"),
        (pickle.dumps(1.5), "a float"),
        (pickle.dumps(1j), r"builtins\.complex"),
        (pickle.dumps(DataError), r"faces\.errors\.DataError"),
        (pickle.dumps(np.array([None])), "a NumPy array of dtype O8"),
        (pickle.dumps(np.zeros(2, "i4,f4")), "a NumPy array of dtype V8"),
        (pickle.dumps(np.array(["text"])), "a NumPy array of dtype U4"),
        (pickle.dumps(np.random.default_rng(0)), r"numpy\.random\._pickle\.__generator_ctor"),
        (b"P1\n.", "a persistent id"),
        (b"K\x01Q.", "a persistent id"),
        (b"\x80\x02\x82\x01.", "an extension code"),
        (b"c\x1b[2J\nname\n.", r"\\x1b\[2J\.name"),
        (b"c" + b"m" * 1000 + b"\nname\n.", "m{60}" + r"\.name;"),
    ],
)
def test_what_is_refused_by_name(data, what):
    with pytest.raises(DataError, match=f"holds a pickle that asks for {what}") as caught:
        load(data, "x.bin")
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


ARRAY = pickle.dumps(np.arange(6, dtype=np.uint8), 2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "byte 0: the pickle has no end"),
        (b"hello", "byte 0: a stored value is recalled that was never stored"),
        (b"\xff\xd8\xff\xe0", "byte 0: 0xff is no instruction of a pickle"),
        (b"K\x01K\x02.", "byte 4: the pickle ends with values left over"),
        (b"(K\x01.", "byte 3: the pickle ends with values left over"),
        (b".", "byte 0: an instruction lacks its value"),
        (b"(.", "byte 1: an instruction lacks its value"),
        (b"t.", "byte 0: an instruction lacks its values"),
        (b"K\x01K\x02a.", "byte 4: values are appended to what is no list"),
        (b"I1x\n.", "byte 0: a malformed or endless number"),
        (b"I" + b"9" * 9999 + b"\n.", "byte 0: a malformed or endless number"),
        (b"S'a\\q'\n.", "byte 0: a malformed string"),
        (b"S'a\"\n.", "byte 0: a malformed string"),
        (b"Va", "byte 0: the file ends in the middle of a line"),
        (b"X\x01\x00\x00\x00\xff.", "byte 0: text that is not Unicode"),
        (b"K\x01K\x01R.", "byte 4: a call of what is no function"),
        (b"cnumpy\ndtype\n)R.", r"byte 14: numpy\.dtype with other arguments"),
        (b"cnumpy\nndarray\nNb.", "byte 16: the state of what is no plain NumPy array"),
        (b"K\x01K\x02\x93.", "byte 4: a name that is no text"),
        (ARRAY.replace(b"K\x06\x85", b"K\x07\x85"), "a NumPy array whose shape does not fit its 6 bytes"),
        (ARRAY.replace(b"K\x06\x85", b"N\x85"), "a NumPy array whose shape does not fit"),
        (ARRAY.replace(b"u1", b"u2"), "a NumPy array whose shape does not fit"),
        (PYTHON_2_ARRAY.replace(b"U\x02\xff\xd8", b"U\x00"), "a NumPy array whose shape does not fit its 0 bytes"),
    ],
)
def test_malformed(data, message):
    with pytest.raises(DataError, match=f"^x\\.bin, {message}" if message.startswith("byte") else message):
        load(data, "x.bin")


def bombs():
    size = struct.pack("<I", 2**31 - 1)
    yield "length", b"B" + size, "2,147,483,647 bytes declared, 0 left"
    yield "long length", b"\x8e" + b"\xff" * 8, "18,446,744,073,709,551,615 bytes declared, 0 left"
    yield "shape", ARRAY.replace(b"K\x06\x85", b"J" + size + b"J" + size + b"\x86"), "shape does not fit its 6 bytes"
    yield "dimensions", ARRAY.replace(b"K\x06\x85", b"(" + b"K\x01" * 9999 + b"K\x06t"), "shape does not fit"
    text = b"X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"q\x01" + b"X\x06\x00\x00\x00latin1q\x020"
    again = b"c_codecs\nencode\nh\x01h\x02\x86R0"
    yield "encoding", text + again * 1000 + b".", "more text to encode than the file is long"


@pytest.mark.parametrize(("data", "message"), [pytest.param(*bomb, id=name) for name, *bomb in bombs()])
def test_bombs(data, message):
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=message):
            load(data, "x.bin")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_instructions_are_counted(monkeypatch):
    monkeypatch.setattr(restricted_pickle, "INSTRUCTION_LIMIT", 1000)
    assert load(b"]" * 499 + b"0" * 498 + b"0N.", "x.bin") is None
    with pytest.raises(DataError, match="more than 1,000 instructions, the limit"):
        load(b"]" * 499 + b"0" * 499 + b"NNN.", "x.bin")


def test_a_memo_index_costs_nothing_and_depth_is_no_recursion():
    assert load(b"Nr\xff\xff\xff\x7f.", "x.bin") is None
    doublings = b"".join(b"]\x94(h" + bytes([n]) + b"h" + bytes([n]) + b"e" for n in range(250))
    value = load(b"]\x94" + doublings + b"0" * 250 + b".", "x.bin")
    assert value == []
    value = load(b"N" + b"\x85" * 100_000 + b".", "x.bin")
    for _ in range(100_000):
        (value,) = value
    assert value is None
    own = load(b"]q\x00h\x00a.", "x.bin")
    assert own[0] is own


SMALL = [pickle.dumps(value, protocol) for value in VALUES[:1] + VALUES[-1:] for protocol in (0, 2, 4, 5)] + PYTHON_2


def test_every_cut_is_refused():
    for data in SMALL:
        for length in range(len(data)):
            with pytest.raises(DataError, match=r"^x\.bin, byte \d+: .*\.$"):
                load(data[:length], "x.bin")


def test_random_damage_gives_a_value_or_one_sentence():
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(800):
        data = bytearray(SMALL[rng.integers(len(SMALL))])
        for _ in range(rng.integers(1, 6)):
            at = int(rng.integers(len(data)))
            data[at : at + int(rng.integers(2))] = rng.bytes(int(rng.integers(3)))
        try:
            load(bytes(data), "x.bin")
        except DataError as error:
            refused += 1
            assert "\n" not in str(error)
    assert 400 < refused < 800
