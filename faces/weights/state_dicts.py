"""What a checkpoint of PyTorch holds once its pickle is read, and which dict in it is the network's state dict.

Training programs save the state dict by itself, or under some key beside other things, of which a few are tensors too:
the state of a generator, a best score, an average of the weights, a second network. The rule:

1. The entries that are dicts of tensors are looked at. One: it is the state dict. Where it lies under an unusual key
   (none of KEYS) beside single tensors, the single tensors may be the network as well: refused.
2. Several: the one under a key of KEYS, where there is one, as `backbone` beside `head` (the same tensors under two
   keys are one). Two of them, such as `state_dict` and `ema_state_dict`, are two networks of which only a person knows
   which is wanted: refused.
3. None: what was saved is itself the state dict, if it has tensors. If it has none, and one entry under a key of KEYS
   is a dict, the same is asked of that.

Whoever names a key gets what lies under it.

Not here: reading the pickle and the storages (`pytorch.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from faces.errors import FacesError, option
from faces.unpickle.pickled_arrays import Opaque, PickledArray, shown
from faces.weights.weights_file import WeightsFile

KEYS = (
    "state_dict", "model_state_dict", "model_state", "state_dict_backbone", "backbone_state_dict", "net_state_dict",
    "model", "net", "network", "backbone", "params",
    "ema_state_dict", "state_dict_ema", "model_ema", "ema_model", "ema", "params_ema",
)  # fmt: skip
"""Where training programs put the network's state dict in what they save, and its running average."""

_SHOWN = 6
_DEPTH = 4

StateDict = Mapping[Any, Any]
Refusal = Callable[[int, str], FacesError]


@dataclass(frozen=True, slots=True)
class Storage:
    """Values that tensors look into: the name of the bytes, NumPy's code of the values, and how many there are."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a tensor shows of a storage; offset and strides in values."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def choose(file: WeightsFile, saved: Any, key: str | None, refusal: Refusal) -> StateDict:
    """The state dict of what was saved, by the rule above.

    Args:
        file: for errors.
        saved: the pickle's value.
        key: under which it lies; None to find out.
        refusal: the error for what a pickle asks for and does not get, from the byte where it asks.

    Returns:
        Names to `Tensor`, `PickledArray`, and what is no tensor.

    Raises:
        WeightsError: there is none, or several; or a value in it, of PyTorch or NumPy, is not known here.
    """
    entries = _entries(saved)
    if entries is None:
        for value in saved if isinstance(saved, (list, tuple)) else [saved]:
            if isinstance(value, Opaque):
                raise refusal(value.byte, value.what)
        raise file.error("what was saved is no dict of tensors; save the network's state_dict()")
    for _ in range(_DEPTH):
        inner = {name: values for name in entries if (values := _dict_of_tensors(entries[name])) is not None}
        deeper = [values for name in KEYS if (values := _entries(entries.get(name))) is not None]
        if inner or _has_tensors(entries) or len(deeper) != 1:
            break
        entries = deeper[0]
    if key is not None:
        if key not in inner:
            there = f"those under {_listed(inner)} are" if inner else "none is"
            raise file.error(f"no state dict lies under {shown(key)}; {there} there")
        state = inner[key]
    else:
        state = _found(file, entries, inner, refusal)
    for value in state.values():
        if isinstance(value, Opaque) and value.what.startswith(("torch", "numpy")):  # it may be a tensor
            raise refusal(value.byte, value.what)
    return state


def _found(file: WeightsFile, entries: StateDict, inner: dict[Any, StateDict], refusal: Refusal) -> StateDict:
    usual = [name for name in inner if name in KEYS]
    beside = _has_tensors(entries)
    if usual and all(_is_same(inner[usual[0]], inner[name]) for name in usual[1:]):
        return inner[usual[0]]
    if len(inner) == 1 and not beside:
        return next(iter(inner.values()))
    if inner:
        also = " and single tensors beside" if beside and not usual else ""
        raise file.error(
            f"it holds dicts of tensors under {_listed(usual or inner)}{also}, and which is the network's is not said; "
            f"convert it with {option('state-dict', 'KEY')}"
        )
    if beside:
        return entries
    unknown = [entries[name] for name in sorted(entries, key=lambda name: name not in KEYS)]
    for value in unknown:
        if isinstance(value, Opaque):
            raise refusal(value.byte, value.what)
    raise file.error(f"no state dict under its keys ({_listed(entries)}); save the network's state_dict()")


def _entries(value: Any) -> StateDict | None:
    match value:
        case dict():
            return value
        case Opaque(items=dict() as items):  # a class derived from dict
            return items
        case _:
            return None


def _dict_of_tensors(value: Any) -> StateDict | None:
    entries = _entries(value)
    return entries if entries is not None and _has_tensors(entries) else None


def _has_tensors(values: StateDict) -> bool:
    return any(isinstance(value, (Tensor, PickledArray)) for value in values.values())


def _is_same(one: StateDict, other: StateDict) -> bool:
    """Whether two dicts show the same storages in the same way: one state dict under two keys."""
    return one.keys() == other.keys() and all(
        value is other[name] or (isinstance(value, Tensor) and isinstance(other[name], Tensor) and value == other[name])
        for name, value in one.items()
    )


def _listed(names: Any) -> str:
    listed = [shown(str(name)) for name in names]
    return ", ".join(listed[:_SHOWN]) + (", ..." if len(listed) > _SHOWN else "")
