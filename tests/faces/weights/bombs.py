"""Files that ask for far more memory, depth or time than they have bytes: each small, each to be refused or cheap."""

import io
import json
import pickle
import struct
import zipfile

import numpy as np

from tests.faces.weights import makers
from tests.faces.weights.makers import Storage, Tensor, pickled, zipped

GIANT = 2**62


def object_npy(instructions):
    """A .npy file of objects with this pickle."""
    text = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + instructions


def in_array(instructions):
    """The pickle of an array of objects that holds the one value these instructions push."""
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
    dtype = b"cnumpy\ndtype\n(\x8c\x02O8K\x00K\x01tR(K\x03\x8c\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb"
    return array + b"(K\x01)" + dtype + b"\x89]" + instructions + b"atb."


def pickle_bombs(most):
    """Instructions that take the most memory for their bytes, `most` of them, and deep or endless values."""
    yield "empty dicts", b"}" * most
    yield "empty lists", b"]" * most
    yield "stored values", b"}" + b"\x94" * most
    yield "stored dicts", b"}\x94" * (most // 2)
    yield "small dicts", b"}K\x01K\x02s" * (most // 4)
    yield "small lists", b"]Na" * (most // 3)
    yield "tuples", b"N\x85" * (most // 2)
    yield "marks", b"(" * most
    yield "deep tuples", b"N" + b"\x85" * most + b"."
    yield "deep dicts", b"N" + b"}K\x01\x8c\x01a\x87" * (most // 4) + b"."
    yield "a deep key", b"}" + b"N" + b"\x85" * (most // 2) + b"Ns."
    yield "colliding keys", b"}" + b"".join(b"\x8a\x0a" + (i * (2**61 - 1)).to_bytes(10, "little") + b"Ns"
                                            for i in range(1, most // 3)) + b"."  # fmt: skip
    yield "colliding numbers of stored values", b"N" + b"".join(
        b"p%d\n" % (i * (2**61 - 1)) for i in range(1, most // 3)
    ) + b"."  # fmt: skip
    dtype = b"cnumpy\ndtype\nq\x00\x8c\x02f4K\x00K\x01\x87q\x01"
    yield "dtypes", dtype + b"h\x00h\x01R" * (most // 3)
    array = b"cnumpy.core.numeric\n_frombuffer\nq\x02(C\x04abcdh\x00h\x01RK\x01\x85\x8c\x01Ctq\x03"
    yield "arrays of the same bytes", dtype + array + b"h\x02h\x03R" * (most // 3)
    yield (
        "text of one wide letter",
        b"X" + struct.pack("<I", 100 * most) + b"a" * (100 * most - 4) + b"\xf0\x9f\x98\x80.",
    )
    yield "a quoted string", b"S'" + b"a" * (100 * most) + b"'\n."
    yield "a long whole number", b"\x8b" + struct.pack("<I", 100 * most) + b"\x7f" * (100 * most) + b"."
    yield "a dict in itself", in_array(b"}q\x00\x8c\x01ah\x00s")
    float32 = b"cnumpy\ndtype\n(\x8c\x02f4K\x00K\x01tR(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbq\x00"
    big = b"cnumpy.core.numeric\n_frombuffer\nq\x02(B" + struct.pack("<I", 10**6) + bytes(10**6)
    big += float32 + b"J\x90\xd0\x03\x00\x85\x8c\x01CtRq\x01"
    entries = b"".join(b"\x8c\x06%06dh\x01s" % i for i in range(most // 8))
    yield "one array under many names", in_array(big + b"0}" + entries)
    yield "one array of the other byte order", in_array(big.replace(b"\x8c\x01<", b"\x8c\x01>") + b"0}" + entries)
    yield (
        "one dict under many names",
        in_array(big + b"0}" + entries + b"q\x000}" + entries.replace(b"h\x01", b"h\x00")),
    )
    long = b"X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"q\x05"
    yield "one long name", in_array(big + b"0}(" + long + b"}" + entries + b"u")
    first = b"}(X" + struct.pack("<I", 60_000) + b"b" * 60_000 + b"q\x060h\x06h\x01us"
    first, others = entries.replace(b"h\x01s", first, 1), entries.replace(b"h\x01s", b"}h\x06h\x01ss")
    yield "a long name for many", in_array(big + b"0}" + first + others)


def torch_bombs(most):
    storage = Storage("0", np.zeros(4, np.float32))
    sides = b"(" + b"K\x01" * (most // 2) + b"tq\x01"
    size = b"ctorch\nSize\nq\x02"
    yield "calls with many arguments", zipped({"a/data.pkl": sides + size + b"h\x02h\x01R" * (most // 6)})
    pid = b"(\x8c\x07storagectorch\nFloatStorage\n\x8c\x010\x8c\x03cpuK\x04tQq\x03"
    build = b"ctorch._utils\n_rebuild_tensor_v2\nq\x02" + pid + b"(h\x03K\x00h\x01h\x01\x89Ntq\x04"
    yield "one tensor of many sides, often", zipped({"a/data.pkl": sides + build + b"h\x02h\x04R" * (most // 6)})
    unknown = b"ca\nb\nq\x02"
    yield "unknown things", zipped({"a/data.pkl": unknown + b"h\x02)R" * (most // 3) + b"."})
    yield "unknown dicts", zipped({"a/data.pkl": unknown + b"h\x02)RK\x01Ns" * (most // 6) + b"."})
    parameter = b"ctorch._utils\n_rebuild_parameter\nq\x03"
    deep = b"h\x03" * (most // 3) + b"h\x02" + b"\x85R" * (most // 3)
    yield "an unknown thing of an unknown thing, often", zipped({"a/data.pkl": unknown + parameter + deep + b"."})
    long = b"X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"q\x05"
    yield "a long unknown name, often", zipped({"a/data.pkl": long + b"h\x05h\x05\x93" * (most // 3) + b"."})
    sets = sides + b"\x8f(" + b"h\x01" * (most // 4) + b"\x90" + b"(" + b"h\x01" * (most // 8) + b"\x91"
    yield "sets and odd keys", zipped({"a/data.pkl": sets + b"}" + b"h\x01Ns" * (most // 12) + b"."})
    for name, shape, strides in [
        ("strides of 0", (10**6, 10**6), (0, 0)),
        ("sides beyond the storage", (GIANT,), (1,)),
        ("strides beyond the storage", (2, 2), (GIANT, 1)),
        ("no values and giant sides", (0, GIANT, GIANT), (1, 1, 1)),
        ("numbers without end", (10**2000, 10**2000), (1, 1)),
        ("many sides", (1,) * 100, (1,) * 100),
    ]:
        value = makers.Ordered(w=Tensor(storage, 0, shape, strides))
        yield f"zip, {name}", makers.torch_zip(value)
        yield f"legacy, {name}", makers.torch_legacy(value)
    value = makers.Ordered(w=Tensor(storage, 10**40, (1,), (1,)))
    yield "a giant offset", makers.torch_zip(value)
    wide = Storage("0", np.zeros(2**15, np.float32))
    many = makers.Ordered({f"w{i}": Tensor(Storage(str(i), wide.array), 0, (4,), (1,)) for i in range(200)})
    data, _ = pickled(many)
    members = {"a/data.pkl": data, "a/byteorder": b"little"}
    members |= {f"a/data/{i}": wide.array.tobytes() for i in range(200)}
    yield "a deflated storage, 200 times", zipped(members, zipfile.ZIP_DEFLATED)
    yield "overlapping members", overlapping(data)


def overlapping(data):
    """Two hundred storages that are one place of the file."""
    first = zipped({"a/data.pkl": data, "a/data/0": b"\0" * 2**17})
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        entry = archive.getinfo("a/data/0")
        start, end = archive.start_dir, len(first) - 22
    directory = first[start:end]
    cut = directory.index(b"PK\x01\x02", 4)
    one = directory[cut:]
    names = [f"a/data/{i}".encode() for i in range(200)]
    copies = b"".join(one[:28] + struct.pack("<H", len(name)) + one[30:46] + name for name in names)
    assert entry.filename == "a/data/0"
    directory = directory[:cut] + copies
    return first[:start] + directory + end_of_zip(201, len(directory), start)


def end_of_zip(count, size, start):
    return struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, min(count, 65535), min(count, 65535), size, start, 0)


def zip_bombs(most):
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 0, 20, 0, 0, 0, 0, 33, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    yield "a directory too long", b"PK\x03\x04" + entry * 65_000 + end_of_zip(65_000, 65_000 * len(entry), 4)
    count = min(most, 2**21 // 51)
    named = b"".join(entry[:28] + b"\x05\x00" + entry[30:] + b"%05d" % i for i in range(count))
    yield "a long directory", b"PK\x03\x04" + named + end_of_zip(count, len(named), 4)
    header = makers.npy(np.zeros(2**25, np.uint8))[:128]
    yield "zeros that unpack to 32 MB", zipped({"a.npy": header + bytes(2**25)}, zipfile.ZIP_DEFLATED)
    honest = bytearray(zipped({"a.npy": makers.npy(np.zeros(9))}, zipfile.ZIP_DEFLATED))
    at = honest.index(b"PK\x01\x02")
    yield "a false length", bytes(honest[: at + 24] + struct.pack("<I", 2**32 - 2) + honest[at + 28 :])
    yield "lzma", zipped({"a.npy": makers.npy(np.zeros(9))}, zipfile.ZIP_LZMA)


def protobuf_bombs(most):
    for name, key in (("nodes of a graph", b"\x0a\x00"), ("versions of a model", b"\x08\x08")):
        yield f"empty {name}", key * (3 * most)
    graph = b"\x0a\x00" * (most // 3)
    yield "empty nodes of a model", b"\x08\x08\x3a" + varint(len(graph)) + graph
    graph = b"\x2a\x04\x42\x02ab" * (most // 30)
    yield "initialisers without a dtype", b"\x08\x08\x3a" + varint(len(graph)) + graph
    entry = b"\x2a\x07\x0a\x01a\x12\x02\x0a\x00"  # attributes, each a list
    yield "attributes", b"\x0a" + varint(len(entry) * (most // 15)) + entry * (most // 15)
    yield "deep messages", nested(most // 6)
    row = b"\x1a" + varint(4 * most) + b"\x01" * (4 * most)
    entry = b"\x0a\x01a\x12" + varint(len(row) + 1 + len(varint(len(row)))) + b"\x0a" + varint(len(row)) + row
    node = b"\x2a" + varint(len(entry)) + entry
    yield "whole numbers in a row", b"\x0a" + varint(len(node)) + node
    for shape in [(GIANT,), (2**31, 2**31), (-1,), (0, GIANT), (1,) * 40, (2**24,)]:
        yield f"filled {shape}", makers.graphdef({}, w=(shape, "float32", {"float_val": [1.0]}))
        yield f"an initialiser {shape}", makers.onnx({}, w=(shape, "float32", {"float_data": [1.0]}))


def varint(number):
    data = b""
    while number > 127:
        data += bytes([number & 127 | 128])
        number >>= 7
    return data + bytes([number])


def nested(depth):
    parts, size = [], 0
    for _ in range(depth):
        parts.append(b"\x0a" + varint(size))
        size += len(parts[-1])
    return b"".join(reversed(parts))


def json_bombs(most):
    """Headers of safetensors that take the most memory for their bytes."""
    for name, text in [
        ("deep", b'{"a":' + b"[" * 100_000),
        ("lists", b'{"a":[' + b"[]," * min(5 * most // 3, 490_000) + b"0]}"),
        ("dicts", b'{"a":[' + b"{}," * min(5 * most // 3, 490_000) + b"0]}"),
        ("small dicts", b'{"a":[' + b'{"":1},' * min(5 * most // 7, 210_000) + b"0]}"),
        ("numbers", b'{"a":[' + b"9e9," * min(5 * most // 4, 370_000) + b"0]}"),
        ("a long number", b'{"a":' + b"9" * 100_000 + b"}"),
        ("a header of 2 MB", b'{"a":"' + b"a" * 2_000_000 + b'"}'),
    ]:
        yield name, struct.pack("<Q", len(text)) + text
    for name, shape, offsets in [
        ("a giant side", [GIANT], [0, 4]),
        ("giant offsets", [1], [0, GIANT]),
        ("sides that multiply to 0", [2**32, 2**32], [0, 0]),
        ("a negative side", [-1, -1], [0, 4]),
        ("a hole", [1], [4, 8]),
        ("numbers beyond all", [10**4000], [0, 10**4000]),
    ]:
        text = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}) if max(
            *shape, *offsets) < 2**70 else '{"a":{"dtype":"F32","shape":[1%s],"data_offsets":[0,1%s]}}' % (
            ("0" * 4000,) * 2)  # fmt: skip
        yield name, struct.pack("<Q", len(text)) + text.encode() + bytes(8)


def mxnet_bombs(most):
    good = makers.mxnet({"w": np.zeros((2, 3), np.float32)})
    yield "giant count", good[:16] + struct.pack("<Q", GIANT) + good[24:]
    yield "giant sides", good[:36] + struct.pack("<2q", GIANT, GIANT) + good[52:]
    yield "negative sides", good[:36] + struct.pack("<2q", -2, -3) + good[52:]
    yield "many sides", good[:32] + struct.pack("<i", 2**31 - 1) + good[36:]
    name = good.rindex(struct.pack("<Q", 5))
    yield "giant name", good[:name] + struct.pack("<Q", GIANT) + good[name + 8 :]
    tiny = struct.pack("<IiIqiii", 0xF993FAC9, 0, 1, 0, 1, 0, 0)
    count = min(most, 65_536)
    names = b"".join(struct.pack("<Q5s", 5, b"%05d" % i) for i in range(count))
    yield "tiny arrays", struct.pack("<3Q", 0x112, 0, count) + tiny * count + struct.pack("<Q", count) + names


def npy_bombs(_):
    good = makers.npy(np.zeros((2, 3), np.float32))
    for shape in (b"(999999999999, 3)", b"(0, 999999999999999)", b"(" + b"1, " * 60 + b")", b"(2, 3, 4)"):
        text = b"{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + b", }"
        yield f"{shape[:20].decode()}", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + good[128:]
    for name, text in [("nested", b"(" * 9000), ("minus", b"-" * 9000 + b"1"), ("code", b"__import__('os')"),
                       ("slow", b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"1," * 4000)]:  # fmt: skip
        yield name, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
    yield "an endless header", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b" " * 20_000


def bombs(most=299_000):
    """Name and bytes of all; `most` as in `pickle_bombs`."""
    for name, data in pickle_bombs(most):
        yield f"pickle: {name}", object_npy(data)
    for kind, made in [
        ("PyTorch", torch_bombs), ("zip", zip_bombs), ("protobuf", protobuf_bombs), ("JSON", json_bombs),
        ("MXNet", mxnet_bombs), (".npy", npy_bombs),
    ]:  # fmt: skip
        for name, data in made(most):
            yield f"{kind}: {name}", data
    text = json.dumps(makers.symbol()).encode()
    yield "symbol: deep", b"[" * 100_000
    node = {"op": "null", "name": "a" * 10**6, "inputs": []}
    again = {"op": "Concat", "name": "b", "inputs": [[0, 1]] * 40_000}
    yield "symbol: a long name, often", json.dumps({"nodes": [node, again]}).encode()
    yield "symbol: long", text + b" " * 2_000_000
    legacy = makers.torch_legacy(makers.tensors_of({"w": np.zeros(4, np.float32)}))
    yield "legacy: a storage of 2^62 values", legacy[:-24] + struct.pack("<q", GIANT) + legacy[-16:]
    head = b"".join(pickle.dumps(value, 2) for value in (makers.LEGACY_MAGIC, 1001, {"little_endian": True}))
    dicts = b"](" + b"}" * most + b"e."
    yield "legacy: two long pickles", head + dicts + dicts
