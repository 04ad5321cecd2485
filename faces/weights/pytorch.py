"""PyTorch's checkpoints: `.pt`, `.pth` and `.ckpt`, in today's zip files and in the format before 1.6.

Both hold a pickle whose tensors say which storage they look into, where, with which sides and strides; the storages'
bytes lie beside it, in the zip file one member each, in the old format one after the other. The pickle goes through
`faces.unpickle.restricted_pickle` with the few names below. What a training program saves beside the state dict
(optimiser, states of generators, settings) is passed over unmade, whatever it is; a checkpoint that holds a whole
module in place of its state dict is refused.

Not here: the values of what lies beside the state dict, quantised, sparse and complex tensors, files written with
Python 2; which of a checkpoint's state dicts is read (`state_dicts.py`).
"""

import math
import pickle
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from faces.errors import WeightsError
from faces.unpickle.pickled_arrays import (
    ForeignError,
    Name,
    Opaque,
    PickledArray,
    RefusedError,
    other_arguments,
    shown,
    table,
)
from faces.unpickle.restricted_pickle import Contents, load, load_next
from faces.weights.state_dicts import StateDict, Storage, Tensor, choose
from faces.weights.weights_file import BFLOAT16, WeightsFile
from faces.weights.zip_members import content

LEGACY_MAGIC = pickle.LONG1 + b"\x0al\xfc\x9cF\xf9 j\xa8P\x19" + pickle.STOP
"""How the first pickle of the old format ends, a number; the protocol comes before it."""

_MAX_DIMENSIONS = 32
_PROTOCOL = 1001  # of the old format
_PICKLE_LIMIT = 2**25
_DTYPES = {
    "Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": BFLOAT16, "Bool": "b1", "Long": "<i8", "Int": "<i4",
    "Short": "<i2", "Char": "i1", "Byte": "u1",
}  # fmt: skip
_UNREAD = {"ComplexFloat": "V8", "ComplexDouble": "V16", "QInt8": "V1", "QUInt8": "V1", "QInt32": "V4", "Untyped": "V1"}
_STORAGES = {
    f"torch.{module}{kind}Storage": code
    for kind, code in (_DTYPES | _UNREAD).items()
    for module in ("", "cuda.", "storage.")
}  # by the name of its class; of those of V bytes a value the values are not read


class _Storages(dict[str, Storage]):
    """The storages that the persistent ids of a pickle name, by their keys."""

    def named(self, value: Any) -> Storage | Opaque:
        match value:
            case ("module", Opaque() as kind, *_):  # of the old format: the class of a module, and its source
                return kind
            case ("storage", Opaque() as kind, *_):
                raise RefusedError(f"a tensor of {kind.what}")
            case ("storage", Name(text=kind), str() as key, str(), int() as count, *view) if kind in _STORAGES:
                if any(part is not None for part in view):
                    raise RefusedError("torch storages inside others, as its first versions write them")
            case _:
                raise ForeignError("a persistent id that names no storage of tensors")
        storage = self.setdefault(key, Storage(key, _STORAGES[kind], count))
        if (storage.dtype, storage.count) != (_STORAGES[kind], count):
            raise ForeignError("a storage that has two dtypes or lengths")
        return storage

    def contents(self, instructions: int = 300_000, text: int = 2**21, opaque: bool = True) -> Contents:
        """What a pickle of a checkpoint may hold; its storages are entered here."""
        return Contents(
            names=_NAMES,
            persistent=self.named,
            mappings=True,
            opaque=opaque,
            instructions=instructions,
            text=text,
            read="numbers, text, lists, dicts, NumPy arrays and plain tensors, as a network's state_dict() gives them,",
            fewer="save the network's state_dict() alone",
            error=WeightsError,
        )


def _rebuild_tensor(*arguments: Any) -> Tensor:
    match arguments:
        case (Storage() as storage, int() as offset, tuple() as shape, tuple() as strides, *rest) if _is_view(
            offset, shape, strides
        ):
            if any(rest[2:]):
                raise RefusedError("torch tensors whose signs or conjugates are yet to be applied")
            return Tensor(storage, offset, shape, strides)
        case _:
            raise other_arguments("torch._utils._rebuild_tensor_v2")


def _is_view(offset: int, shape: tuple[Any, ...], strides: tuple[Any, ...]) -> bool:
    natural = all(type(number) is int and number >= 0 for number in (offset, *shape, *strides))
    return len(shape) == len(strides) <= _MAX_DIMENSIONS and natural


def _rebuild_parameter(*arguments: Any) -> Tensor:
    match arguments:
        case (Tensor() as tensor, *_):
            return tensor
        case _:
            raise other_arguments("torch._utils._rebuild_parameter")


def _rebuild_from_type(*arguments: Any) -> Tensor:
    """A tensor with attributes of its own; another class of tensors asks for a name that is not known."""
    match arguments:
        case (Name(call=build), Name(text="torch.Tensor"), tuple() as inner, _) if build and build in _BUILDERS:
            return build(*inner)
        case _:
            raise other_arguments("torch._tensor._rebuild_from_type_v2")


def _ordered_dict(*arguments: Any) -> dict[Any, Any]:
    if arguments:
        raise RefusedError("collections.OrderedDict with items, as Python 2 writes")
    return {}


def _size(*arguments: Any) -> tuple[Any, ...]:
    match arguments:
        case (tuple() as sides,):
            return sides
        case _:
            raise other_arguments("torch.Size")


_BUILDERS = (_rebuild_tensor, _rebuild_parameter)
_NAMES = table(
    Name("collections.OrderedDict", _ordered_dict),
    Name("torch.Size", _size),
    Name("torch._utils._rebuild_tensor", _rebuild_tensor),
    Name("torch._utils._rebuild_tensor_v2", _rebuild_tensor),
    Name("torch._utils._rebuild_parameter", _rebuild_parameter),
    Name("torch._utils._rebuild_parameter_with_state", _rebuild_parameter),
    Name("torch._tensor._rebuild_from_type_v2", _rebuild_from_type),
    Name("torch.Tensor"),
    *map(Name, _STORAGES),
)


def read_zip(file: WeightsFile, entries: dict[str, zipfile.ZipInfo], wanted: str | None) -> dict[str, np.ndarray]:
    """The tensors of the state dict in a zip file of PyTorch.

    Args:
        file: the file.
        entries: as `zip_members.members`; one of them is "<folder>/data.pkl".
        wanted: the key of the state dict; None to find out, as `state_dicts.choose`.

    Raises:
        WeightsError: the file is cut, damaged, holds more than data in its state dict, or has none, or several.
    """
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise file.damaged(f"{len(pickles)} pickles in one checkpoint")
    folder = pickles[0].removesuffix("data.pkl")
    if folder + "constants.pkl" in entries:
        raise file.error("a TorchScript program; save the network's state_dict() instead")
    found = content(file, entries[pickles[0]])
    if found.end - found.at > _PICKLE_LIMIT:
        raise file.error(f"a pickle of more than {_PICKLE_LIMIT:,} bytes, the limit; save the state_dict() alone")
    file.spend(2 * (found.end - found.at))
    pickled = bytes(found.data[found.at : found.end])
    name, contents = f"{file.name}: {shown(pickles[0])}", _Storages().contents()
    saved = load(pickled, name, contents)
    order = entries.get(folder + "byteorder")
    if order is not None:
        word = content(file, order)
        if word.data[word.at : word.end] != b"little":
            raise file.error("written on a machine of the other byte order; save it on one of this order")

    def stored(storage: Storage) -> np.ndarray:
        entry = entries.get(f"{folder}data/{storage.key}")
        if entry is None:
            raise file.damaged(f"it lacks the storage {shown(storage.key)}")
        found = content(file, entry)
        member = f"storage {storage.key}"
        return file.array((storage.count,), storage.dtype, member, found.at, found.end, found.data)

    return _tensors(file, choose(file, saved, wanted, partial(contents.refusal, name)), stored)


def read_legacy(file: WeightsFile, wanted: str | None) -> dict[str, np.ndarray]:
    """The tensors of the state dict in a file of PyTorch's old format.

    Args:
        file: the file.
        wanted: as for `read_zip`.

    Raises:
        WeightsError: as `read_zip`; or a storage of a kind that is not known.
    """
    storages = _Storages()
    small, list_of_keys = storages.contents(1_000, 2**12, False), storages.contents(100_000, 2**19, False)
    _, at = load_next(file.data, 0, file.name, small)
    protocol, at = load_next(file.data, at, file.name, small)
    system, at = load_next(file.data, at, file.name, small)
    if protocol != _PROTOCOL or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise file.error("written by another version of PyTorch or on a machine of the other byte order; save it again")
    contents = storages.contents()
    saved, at = load_next(file.data, at, file.name, contents)
    state = choose(file, saved, wanted, partial(contents.refusal, file.name))
    keys, at = load_next(file.data, at, file.name, list_of_keys)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
        raise file.damaged("its list of storages is none")
    ranges = {}  # first byte of each storage, and the byte after it
    for key in keys:
        if key not in storages:
            raise file.damaged(f"the storage {shown(key)} has no tensor of a kind that is known")
        name = f"storage {key}"
        start = at + 8
        count = struct.unpack("<q", file.data[at:start])[0] if start <= len(file.data) else -1
        if count != storages[key].count:
            raise file.damaged(f"the storage {shown(key)} is cut or has another length than its tensors say")
        at = start + file.size_of((count,), storages[key].dtype, name)
        ranges[key] = start, at
    if at != len(file.data):
        raise file.damaged("the file does not end with its last storage")

    def stored(storage: Storage) -> np.ndarray:
        if storage.key not in ranges:
            raise file.damaged(f"it lacks the storage {shown(storage.key)}")
        return file.array((storage.count,), storage.dtype, f"storage {storage.key}", *ranges[storage.key])

    return _tensors(file, state, stored)


def _tensors(file: WeightsFile, state: StateDict, stored: Callable[[Storage], np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of a state dict; `stored` gives a storage's values (count,)."""
    flat: dict[str, np.ndarray] = {}  # values of each storage
    tensors = {}
    for name, value in state.items():
        if not isinstance(name, str):
            raise file.error("a state dict with a name that is no text; save the network's state_dict()")
        match value:
            case Tensor(storage=Storage(dtype=dtype)) if dtype.startswith("V"):
                raise file.error(f"{shown(name)} is a tensor of no plain numbers; save it as floating point")
            case Tensor(storage=storage):
                if storage.key not in flat:
                    flat[storage.key] = stored(storage)
                tensors[file.new_name(name)] = _view(file, name, value, flat[storage.key])
            case PickledArray(array=np.ndarray() as array):
                tensors[file.new_name(name)] = array
            case PickledArray():
                raise file.error(f"{shown(name)} is an array of no plain numbers; save it as floating point")
    return tensors


def _view(file: WeightsFile, name: str, tensor: Tensor, flat: np.ndarray) -> np.ndarray:
    """The part of a storage's values that a tensor shows."""
    file.size_of(tensor.shape, tensor.storage.dtype, name)
    count = math.prod(tensor.shape)
    if count == 0:
        return np.empty(tensor.shape, flat.dtype)
    last = tensor.offset + sum((side - 1) * stride for side, stride in zip(tensor.shape, tensor.strides, strict=True))
    if last >= flat.size:
        raise file.damaged(f"{shown(name)} goes beyond its storage")
    strides = [stride * flat.itemsize * (side > 1) for side, stride in zip(tensor.shape, tensor.strides, strict=True)]
    view = np.ndarray(tensor.shape, flat.dtype, flat, tensor.offset * flat.itemsize, strides)
    if count <= flat.size:
        return view
    file.spend(view.nbytes)  # values that it shows again and again, as after .expand(), take room in all that follows
    return view.copy()
