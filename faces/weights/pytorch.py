"""PyTorch's checkpoints: `.pt`, `.pth` and `.ckpt`, in today's zip files and in the format before 1.6.

Both hold a pickle whose tensors say which storage they look into, where, with which sides and strides; the storages'
bytes lie beside it, in the zip file one member each, in the old format one after the other. The pickle goes through
`restricted_pickle.py` with the few names below, so a checkpoint that holds a whole module, and so asks for the module's
class, is refused: its state dict is needed.

Not here: optimiser states and other tensors outside the state dict, quantised and sparse tensors, files written with
Python 2.
"""

import math
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from faces.data.pickled_arrays import ForeignError, Name, PickledArray, other_arguments, shown, table
from faces.data.restricted_pickle import Contents, load, load_next
from faces.errors import WeightsError
from faces.weights.weights_file import BFLOAT16, WeightsFile
from faces.weights.zip_members import content

LEGACY_MAGIC = pickle.LONG1 + b"\x0al\xfc\x9cF\xf9 j\xa8P\x19" + pickle.STOP
"""How the first pickle of the old format ends, a number; the protocol comes before it."""

STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model", "net", "backbone")
"""Where training programs put the state dict in what they save, in the order tried."""

_MAX_DIMENSIONS = 32
_PROTOCOL = 1001  # of the old format
_PICKLE_LIMIT = 2**25
_DTYPES = {
    "Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": BFLOAT16, "Bool": "b1", "Long": "<i8", "Int": "<i4",
    "Short": "<i2", "Char": "i1", "Byte": "u1",
}  # fmt: skip
_STORAGES = {
    f"torch.{device}{kind}Storage": code for kind, code in _DTYPES.items() for device in ("", "cuda.")
}  # by the name of its class


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: str
    count: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements


class _Storages(dict[str, _Storage]):
    """The storages that the persistent ids of a pickle name, by their keys."""

    def named(self, value: Any) -> _Storage:
        match value:
            case ("storage", Name(text=kind), str() as key, str(), int() as count, *view) if kind in _STORAGES:
                if any(part is not None for part in view):
                    raise ForeignError("a storage inside another, of the first versions of PyTorch")
            case _:
                raise ForeignError("a persistent id that names no storage of tensors")
        storage = self.setdefault(key, _Storage(key, _STORAGES[kind], count))
        if (storage.dtype, storage.count) != (_STORAGES[kind], count):
            raise ForeignError("a storage that has two dtypes or lengths")
        return storage

    def contents(self, instructions: int = 300_000, text: int = 2**21) -> Contents:
        """What a pickle of a checkpoint may hold; its storages are entered here."""
        return Contents(
            names=_NAMES,
            persistent=self.named,
            mappings=True,
            instructions=instructions,
            text=text,
            read="numbers, text, lists, tuples, dicts, NumPy arrays and plain tensors",
            fewer="save the network's state_dict() alone",
            error=WeightsError,
        )


def _rebuild_tensor(*arguments: Any) -> _Tensor:
    match arguments:
        case (_Storage() as storage, int() as offset, tuple() as shape, tuple() as strides, *rest) if (
            len(shape) == len(strides) <= _MAX_DIMENSIONS
            and all(type(number) is int and number >= 0 for number in (offset, *shape, *strides))
            and not any(rest[2:])  # signs and conjugates that are yet to be applied
        ):
            return _Tensor(storage, offset, shape, strides)
        case _:
            raise other_arguments("torch._utils._rebuild_tensor_v2")


def _rebuild_parameter(*arguments: Any) -> _Tensor:
    match arguments:
        case (_Tensor() as tensor, *_):
            return tensor
        case _:
            raise other_arguments("torch._utils._rebuild_parameter")


def _ordered_dict(*arguments: Any) -> dict[Any, Any]:
    if arguments:
        raise other_arguments("collections.OrderedDict")
    return {}


def _size(*arguments: Any) -> tuple[Any, ...]:
    match arguments:
        case (tuple() as sides,):
            return sides
        case _:
            raise other_arguments("torch.Size")


_NAMES = table(
    Name("collections.OrderedDict", _ordered_dict),
    Name("torch.Size", _size),
    Name("torch._utils._rebuild_tensor", _rebuild_tensor),
    Name("torch._utils._rebuild_tensor_v2", _rebuild_tensor),
    Name("torch._utils._rebuild_parameter", _rebuild_parameter),
    *map(Name, _STORAGES),
)


def read_zip(file: WeightsFile, entries: dict[str, zipfile.ZipInfo]) -> dict[str, np.ndarray]:
    """The tensors of the state dict in a zip file of PyTorch.

    Args:
        file: the file.
        entries: as `zip_members.members`; one of them is "<folder>/data.pkl".

    Raises:
        WeightsError: the file is cut, damaged, asks for more than data, or has no state dict.
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
    saved = load(pickled, f"{file.name}: {shown(pickles[0])}", _Storages().contents())
    order = entries.get(folder + "byteorder")
    if order is not None:
        word = content(file, order)
        if word.data[word.at : word.end] != b"little":
            raise file.error("written on a machine of the other byte order; save it on one of this order")

    def stored(storage: _Storage) -> np.ndarray:
        entry = entries.get(f"{folder}data/{storage.key}")
        if entry is None:
            raise file.damaged(f"it lacks the storage {shown(storage.key)}")
        found = content(file, entry)
        name = f"storage {storage.key}"
        return file.array((storage.count,), storage.dtype, name, found.at, found.end, found.data)

    return _state_dict(file, saved, stored)


def read_legacy(file: WeightsFile) -> dict[str, np.ndarray]:
    """The tensors of the state dict in a file of PyTorch's old format.

    Raises:
        WeightsError: the file is cut, damaged, asks for more than data, or has no state dict.
    """
    storages = _Storages()
    small, list_of_keys = storages.contents(1_000, 2**12), storages.contents(100_000, 2**19)
    _, at = load_next(file.data, 0, file.name, small)
    protocol, at = load_next(file.data, at, file.name, small)
    system, at = load_next(file.data, at, file.name, small)
    if protocol != _PROTOCOL or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise file.error("written by another version of PyTorch or on a machine of the other byte order; save it again")
    saved, at = load_next(file.data, at, file.name, storages.contents())
    keys, at = load_next(file.data, at, file.name, list_of_keys)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
        raise file.damaged("its list of storages is none")
    ranges = {}  # first byte of each storage, and the byte after it
    for key in keys:
        if key not in storages:
            raise file.damaged(f"the storage {shown(key)} has no tensor")
        name = f"storage {key}"
        start = at + 8
        count = struct.unpack("<q", file.data[at:start])[0] if start <= len(file.data) else -1
        if count != storages[key].count:
            raise file.damaged(f"the storage {shown(key)} is cut or has another length than its tensors say")
        at = start + file.size_of((count,), storages[key].dtype, name)
        ranges[key] = start, at
    if at != len(file.data):
        raise file.damaged("the file does not end with its last storage")

    def stored(storage: _Storage) -> np.ndarray:
        if storage.key not in ranges:
            raise file.damaged(f"it lacks the storage {shown(storage.key)}")
        return file.array((storage.count,), storage.dtype, f"storage {storage.key}", *ranges[storage.key])

    return _state_dict(file, saved, stored)


def _state_dict(file: WeightsFile, saved: Any, stored: Callable[[_Storage], np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of what was saved, or of the state dict in it; `stored` gives a storage's values (count,)."""
    if not isinstance(saved, dict):
        raise file.error("what was saved is no dict of tensors; save the network's state_dict()")
    inner = (saved.get(key) for key in STATE_DICT_KEYS)
    state = next((one for one in (saved, *inner) if isinstance(one, dict) and _has_tensors(one)), None)
    if state is None:
        keys = ", ".join(shown(str(key)) for key in list(saved)[:5])
        raise file.error(f"no state dict under its keys ({keys}); save the network's state_dict()")
    flat: dict[str, np.ndarray] = {}  # values of each storage
    tensors = {}
    for name, value in state.items():
        if not isinstance(name, str):
            raise file.error("a state dict with a name that is no text; save the network's state_dict()")
        match value:
            case _Tensor(storage=storage):
                if storage.key not in flat:
                    flat[storage.key] = stored(storage)
                tensors[file.new_name(name)] = _view(file, name, value, flat[storage.key])
            case PickledArray(array=np.ndarray() as array):
                tensors[file.new_name(name)] = array
    return tensors


def _has_tensors(values: dict[Any, Any]) -> bool:
    return any(isinstance(value, (_Tensor, PickledArray)) for value in values.values())


def _view(file: WeightsFile, name: str, tensor: _Tensor, flat: np.ndarray) -> np.ndarray:
    """The part of a storage's values that a tensor shows."""
    file.size_of(tensor.shape, tensor.storage.dtype, name)
    count = math.prod(tensor.shape)
    if count == 0:
        return np.empty(tensor.shape, flat.dtype)
    last = tensor.offset + sum((side - 1) * stride for side, stride in zip(tensor.shape, tensor.strides, strict=True))
    if last >= flat.size:
        raise file.damaged(f"{shown(name)} goes beyond its storage")
    if count > flat.size:
        raise file.error(f"{shown(name)} is larger than its storage; save it after .contiguous()")
    strides = [stride * flat.itemsize * (side > 1) for side, stride in zip(tensor.shape, tensor.strides, strict=True)]
    return np.ndarray(tensor.shape, flat.dtype, flat, tensor.offset * flat.itemsize, strides)
