"""Writers of every format that `faces.weights` reads, made for the tests: small files and deliberate damage.

Protocol buffers are written by Google's package from descriptors made here, pickles by Python's own pickler with names
that need no PyTorch, `.npy` and `.npz` by NumPy, and the rest by `struct`.
"""

import io
import json
import pickle
import struct
import zipfile
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_KINDS = {"float32": "Float", "float64": "Double", "float16": "Half", "int64": "Long", "int32": "Int",
          "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool", "bfloat16": "BFloat16"}  # fmt: skip
_MXNET = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool", "int16", "uint16", "uint32",
          "uint64", "bfloat16")  # fmt: skip


def arrays(seed=0):
    """A few arrays of unlike shapes and dtypes."""
    rng = np.random.default_rng(seed)
    return {
        "conv.weight": rng.normal(size=(3, 2, 3, 3)).astype(np.float32),
        "conv.bias": rng.normal(size=5).astype(np.float16),
        "norm.steps": np.array(12345678901, np.int64),
        "table": rng.integers(-100, 100, (4, 3)).astype(np.int32),
        "mask": rng.integers(0, 2, 7).astype(bool),
    }


# MXNet


def mxnet(tensors, version=2, prefix="arg:"):
    parts = [struct.pack("<3Q", 0x112, 0, len(tensors))]
    for array in tensors.values():
        if version in (2, 3):
            parts.append(struct.pack("<Ii", {2: 0xF993FAC9, 3: 0xF993FACA}[version], 0))
        if version == 1:
            parts.append(struct.pack("<I", 0xF993FAC8))
        side = "I" if version == 0 else "q"
        parts.append(struct.pack(f"<I{array.ndim}{side}", array.ndim, *array.shape))
        parts.append(struct.pack("<iii", 1, 0, _MXNET.index(array.dtype.name)) + array.tobytes())
    parts.append(struct.pack("<Q", len(tensors)))
    for name in tensors:
        encoded = (prefix + name).encode()
        parts.append(struct.pack("<Q", len(encoded)) + encoded)
    return b"".join(parts)


def symbol():
    nodes = [
        {"op": "null", "name": "data", "inputs": []},
        {"op": "SliceChannel", "name": "cut", "attrs": {"num_outputs": "2"}, "inputs": [[0, 0, 0]]},
        {"op": "null", "name": "w", "inputs": []},
        {"op": "Convolution", "name": "conv", "attrs": {"kernel": "(3, 3)"}, "inputs": [[1, 1, 0], [2, 0, 0]]},
    ]
    return {"nodes": nodes, "arg_nodes": [0, 2], "heads": [[3, 0, 0]], "attrs": {"mxnet_version": ["int", 10500]}}


# safetensors


def safetensors(tensors, metadata=True, **changes):
    words = {"f": "F", "i": "I", "u": "U", "b": "BOOL"}
    header = {"__metadata__": {"format": "pt"}} if metadata else {}
    at = 0
    for name, array in tensors.items():
        kind = "BF16" if array.dtype.name == "bfloat16" else words[array.dtype.kind] + str(8 * array.itemsize)
        kind = "BOOL" if array.dtype.kind == "b" else kind
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    header.update(changes)
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    return struct.pack("<Q", len(encoded)) + encoded + b"".join(array.tobytes() for array in tensors.values())


# PyTorch


@dataclass(frozen=True)
class Global:
    """Pickled as a name of another library."""

    module: str
    name: str

    def __call__(self):
        raise AssertionError("pickled only")


@dataclass(frozen=True)
class Call:
    """Pickled as the call of a name of another library: `how` is "REDUCE", or "NEWOBJ" as for an object of a class."""

    function: Global
    arguments: tuple = ()
    state: object = None
    how: str = "REDUCE"
    items: tuple = ()  # pairs, set afterwards as in a class derived from dict


@dataclass(frozen=True)
class Persistent:
    """Pickled as a persistent id."""

    value: tuple


@dataclass(frozen=True)
class Storage:
    key: str
    array: np.ndarray  # (values,)
    kind: str = ""  # of PyTorch's class; by default that of the array's dtype


@dataclass(frozen=True)
class Tensor:
    """A tensor of a storage: offset, sides and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple
    parameter: bool = False


class _Pickler(pickle._Pickler):
    """Python's pickler, for names and tensors of PyTorch; what it meets of storages stays in `storages`."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def __init__(self, file, protocol, legacy):
        super().__init__(file, protocol)
        self.legacy, self.storages = legacy, {}

    def persistent_id(self, obj):
        if isinstance(obj, Persistent):
            return obj.value
        if not isinstance(obj, Storage):
            return None
        self.storages[obj.key] = obj
        kind = Global("torch", (obj.kind or _KINDS[obj.array.dtype.name]) + "Storage")
        return ("storage", kind, obj.key, "cpu", obj.array.size) + ((None,) if self.legacy else ())

    def save_name(self, obj):
        self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        self.memoize(obj)

    def save_call(self, obj):
        self.save(obj.function)
        self.save(obj.arguments)
        self.write(getattr(pickle, obj.how))
        self.memoize(obj)
        for pair in obj.items:
            for part in pair:
                self.save(part)
            self.write(pickle.SETITEM)
        if obj.state is not None:
            self.save(obj.state)
            self.write(pickle.BUILD)

    def save_tensor(self, obj):
        hooks = Ordered()
        build = Global("torch._utils", "_rebuild_tensor_v2")
        arguments = (obj.storage, obj.offset, obj.shape, obj.strides, False, hooks)
        if not obj.parameter:
            self.save_reduce(build, arguments)
            return
        inner = Tensor(obj.storage, obj.offset, obj.shape, obj.strides)
        self.save_reduce(Global("torch._utils", "_rebuild_parameter"), (inner, True, hooks))

    def save_ordered(self, obj):
        self.save_reduce(Global("collections", "OrderedDict"), (), {"_metadata": {}}, None, iter(obj.items()))

    dispatch[Global] = save_name
    dispatch[Call] = save_call
    dispatch[Tensor] = save_tensor


class Ordered(dict):
    """Pickled as PyTorch's state dicts are."""


_Pickler.dispatch[Ordered] = _Pickler.save_ordered


def tensors_of(values):
    """Contiguous tensors, each with a storage of its own."""
    built = Ordered()
    for key, (name, array) in enumerate(values.items()):
        strides = tuple(stride // array.itemsize for stride in np.ascontiguousarray(array).strides)[: array.ndim]
        built[name] = Tensor(Storage(str(key), array.ravel()), 0, array.shape, strides)
    return built


def pickled(value, protocol=2, legacy=False):
    """A pickle, and the storages it names by key."""
    file = io.BytesIO()
    pickler = _Pickler(file, protocol, legacy)
    pickler.dump(value)
    return file.getvalue(), pickler.storages


def torch_zip(value, protocol=2, method=zipfile.ZIP_STORED, folder="archive", byteorder=b"little", more=None):
    data, storages = pickled(value, protocol)
    members = {f"{folder}/data.pkl": data, f"{folder}/byteorder": byteorder, f"{folder}/version": b"3\n"}
    members |= {f"{folder}/data/{key}": storage.array.tobytes() for key, storage in storages.items()}
    return zipped(members | (more or {}), method)


def torch_legacy(value, protocol=2, little=True):
    system = {"protocol_version": 1001, "little_endian": little, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    data, storages = pickled(value, protocol, legacy=True)
    keys = sorted(storages)
    parts = [pickle.dumps(LEGACY_MAGIC, protocol), pickle.dumps(1001, protocol), pickle.dumps(system, protocol)]
    parts += [data, pickle.dumps(keys, protocol)]
    for key in keys:
        parts.append(struct.pack("<q", storages[key].array.size) + storages[key].array.tobytes())
    return b"".join(parts)


def zipped(members, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return file.getvalue()


# NumPy


def npy(value):
    file = io.BytesIO()
    np.save(file, value)
    return file.getvalue()


def npz(tensors, compressed=False):
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **tensors)
    return file.getvalue()


def layers(seed=0):
    """What MTCNN's det1.npy holds, in small."""
    rng = np.random.default_rng(seed)
    return {
        "conv1": {"weights": rng.normal(size=(3, 3, 3, 2)).astype(np.float32), "biases": np.zeros(2, np.float32)},
        "PReLU1": {"alpha": rng.normal(size=2)},
    }


# Protocol buffers: (number, name, type[, repeated]) of each message; a type in capitals is a message

_SCHEMA = {
    "GraphDef": [(1, "node", "NodeDef", True)],
    "NodeDef": [(1, "name", "string"), (2, "op", "string"), (3, "input", "string", True), (4, "device", "string"),
                (5, "attr", "AttrEntry", True)],
    "AttrEntry": [(1, "key", "string"), (2, "value", "AttrValue")],
    "AttrValue": [(1, "list", "ListValue"), (2, "s", "bytes"), (3, "i", "int64"), (4, "f", "float"), (5, "b", "bool"),
                  (6, "type", "int32"), (7, "shape", "TensorShape"), (8, "tensor", "TensorDef"),
                  (10, "func", "NodeDef")],
    "ListValue": [(2, "s", "bytes", True), (3, "i", "int64", True), (4, "f", "float", True), (5, "b", "bool", True)],
    "TensorShape": [(2, "dim", "Dim", True)],
    "Dim": [(1, "size", "int64")],
    "TensorDef": [(1, "dtype", "int32"), (2, "tensor_shape", "TensorShape"), (4, "tensor_content", "bytes"),
                  (5, "float_val", "float", True), (6, "double_val", "double", True), (7, "int_val", "int32", True),
                  (8, "string_val", "bytes", True), (10, "int64_val", "int64", True), (11, "bool_val", "bool", True),
                  (13, "half_val", "int32", True), (17, "uint64_val", "uint64", True)],
    "ModelProto": [(1, "ir_version", "int64"), (2, "producer_name", "string"), (7, "graph", "GraphProto")],
    "GraphProto": [(1, "node", "NodeProto", True), (2, "name", "string"), (5, "initializer", "TensorProto", True),
                   (12, "output", "ValueInfo", True)],
    "ValueInfo": [(1, "name", "string")],
    "NodeProto": [(1, "input", "string", True), (2, "output", "string", True), (3, "name", "string"),
                  (4, "op_type", "string"), (5, "attribute", "AttributeProto", True), (7, "domain", "string")],
    "AttributeProto": [(1, "name", "string"), (2, "f", "float"), (3, "i", "int64"), (4, "s", "bytes"),
                       (5, "t", "TensorProto"), (6, "g", "GraphProto"), (7, "floats", "float", True),
                       (8, "ints", "int64", True), (9, "strings", "bytes", True), (20, "type", "int32")],
    "TensorProto": [(1, "dims", "int64", True), (2, "data_type", "int32"), (4, "float_data", "float", True),
                    (5, "int32_data", "int32", True), (6, "string_data", "bytes", True),
                    (7, "int64_data", "int64", True), (8, "name", "string"), (9, "raw_data", "bytes"),
                    (10, "double_data", "double", True), (11, "uint64_data", "uint64", True),
                    (13, "external_data", "StringEntry", True), (14, "data_location", "int32")],
    "StringEntry": [(1, "key", "string"), (2, "value", "string")],
}  # fmt: skip
_SCALARS = {"double": 1, "float": 2, "int64": 3, "uint64": 4, "int32": 5, "bool": 8, "string": 9, "bytes": 12}


@cache
def message(name, packed=True):
    """The class of a message; `packed` says how rows of numbers are written."""
    file = descriptor_pb2.FileDescriptorProto(name=f"weights_{packed}.proto", package=f"p{packed}", syntax="proto2")
    for kind, fields in _SCHEMA.items():
        entry = file.message_type.add(name=kind)
        for number, field, scalar, *repeated in fields:
            added = entry.field.add(name=field, number=number, label=3 if repeated else 1)
            if scalar in _SCALARS:
                added.type = _SCALARS[scalar]
                if repeated and scalar not in ("string", "bytes"):
                    added.options.packed = packed
            else:
                added.type, added.type_name = 11, f".p{packed}.{scalar}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"p{packed}.{name}"))


_TENSORFLOW = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "int64": 9, "bool": 10,
               "bfloat16": 14, "uint16": 17, "float16": 19, "uint32": 22, "uint64": 23}  # fmt: skip
_ONNX = {"float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9,
         "float16": 10, "float64": 11, "uint32": 12, "uint64": 13, "bfloat16": 16}  # fmt: skip


def graphdef(tensors, packed=True, **values):
    """A graph with these constants, and those of `values` as lists of TensorFlow's fields: (shape, dtype, fields)."""
    graph = message("GraphDef", packed)()
    graph.node.add(name="input", op="Placeholder")
    for name, array in tensors.items():
        node = graph.node.add(name=name, op="Const")
        node.attr.add(key="dtype").value.type = _TENSORFLOW[array.dtype.name]
        tensor = node.attr.add(key="value").value.tensor
        tensor.dtype = _TENSORFLOW[array.dtype.name]
        tensor.tensor_content = array.tobytes()
        for side in array.shape:
            tensor.tensor_shape.dim.add(size=side)
        tensor.tensor_shape.SetInParent()
    for name, (shape, dtype, fields) in values.items():
        tensor = graph.node.add(name=name, op="Const").attr.add(key="value").value.tensor
        tensor.dtype = dtype if isinstance(dtype, int) else _TENSORFLOW[dtype]
        for side in shape:
            tensor.tensor_shape.dim.add(size=side)
        for field, row in fields.items():
            getattr(tensor, field).extend(row)
    node = graph.node.add(name="conv", op="Conv2D", input=["input:0", "conv.weight", "cut:1", "^norm"])
    node.attr.add(key="strides").value.list.i.extend([1, 2, 2, -1])
    node.attr.add(key="padding").value.s = b"VALID"
    node.attr.add(key="epsilon").value.f = 0.5
    node.attr.add(key="use_cudnn").value.b = True
    node.attr.add(key="T").value.type = 1
    node.attr.add(key="axis").value.i = -3
    node.attr.add(key="scales").value.list.f.extend([0.5, 0.25])
    node.attr.add(key="words").value.list.s.extend([b"a", b"bc"])
    node.attr.add(key="body").value.func.name = "f"
    shape = node.attr.add(key="shape").value.shape
    shape.dim.add(size=-1)
    shape.dim.add(size=160)
    return graph.SerializeToString()


def onnx(tensors, packed=True, domain=None, external=None, **values):
    """A model with these initialisers as raw bytes, those of `values` as rows, (shape, dtype, fields), and those of
    `external` in other files, (shape, dtype, entries)."""
    model = message("ModelProto", packed)(ir_version=8, producer_name="test")
    graph = model.graph
    for name, array in tensors.items():
        graph.initializer.add(
            name=name, dims=array.shape, data_type=_ONNX[array.dtype.name], raw_data=array.tobytes()
        )  # fmt: skip
    for name, (shape, dtype, entries) in (external or {}).items():
        tensor = graph.initializer.add(name=name, dims=shape, data_type=_ONNX[dtype], data_location=1)
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
    for name, (shape, dtype, fields) in values.items():
        tensor = graph.initializer.add(name=name, dims=shape)
        tensor.data_type = dtype if isinstance(dtype, int) else _ONNX[dtype]
        for field, row in fields.items():
            getattr(tensor, field).extend(row)
    graph.output.add(name="y")
    node = graph.node.add(name="conv", op_type="Conv", input=["x", "conv.weight"], output=["y", "z"], domain=domain)
    node.attribute.add(name="strides", ints=[1, -2], type=7)
    node.attribute.add(name="epsilon", f=0.5, type=1)
    node.attribute.add(name="group", i=0, type=2)
    node.attribute.add(name="mode", s=b"same", type=3)
    node.attribute.add(name="scales", floats=[0.5, 0.25], type=6)
    node.attribute.add(name="words", strings=[b"a", b"bc"], type=8)
    node.attribute.add(name="value").t.MergeFrom(graph.initializer[0])
    node.attribute.add(name="body").g.name = "then"
    return model.SerializeToString()
