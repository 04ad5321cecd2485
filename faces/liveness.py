"""How many bytes the arrays take that a traced program has at one time, from shapes alone: nothing is compiled or run.

XLA writes to memory what convolutions, matrix products, reductions, sorts and the like give; what comes element by
element of something else it computes on the way to those, again in each place if need be. So here such a value takes no
memory unless one of those reads it, and keeps alive what it is made of. Loops count once, with the most that a round
takes. What is divided among the devices counts in part: an array made of divided ones, as long as the first axis stays.

Not here: what the arrays are (`step_memory.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

_INLINED = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_LOOPS = {"scan": ("jaxpr",), "while": ("cond_jaxpr", "body_jaxpr"), "cond": ("branches",)}
_WRITTEN = {
    "conv_general_dilated", "dot_general", "ragged_dot", "sort", "top_k", "gather", "scatter", "scatter-add",
    "scatter_add", "cumsum", "cumprod", "cummax", "all_gather", "psum", "pmax", "all_to_all", "select_and_scatter_add",
    "reduce_window", "reduce_window_max", "reduce_window_sum", "dynamic_update_slice", "rng_bit_generator",
    "random_bits", "threefry2x32", "approx_top_k", "concatenate", *_LOOPS,
}  # fmt: skip
_REDUCING = {
    "reduce_sum", "reduce_max", "reduce_min", "reduce_and", "reduce_or", "reduce_prod", "argmax", "argmin",
}  # fmt: skip
_REPEATED = {"broadcast_in_dim", "iota", "reshape", "squeeze", "transpose", "convert_element_type", "copy", "neg"}


@dataclass(frozen=True)
class Array:
    """One that is in memory.

    Args:
        shape: whole, or within a part of the program that each device runs for itself, the device's part.
        dtype: its type's name.
        size: bytes on one device.
    """

    shape: tuple[int, ...]
    dtype: str
    size: int


@dataclass
class _Value:
    array: Array
    parts: int  # among which it is divided
    made_of: frozenset[int]  # values in memory that it is computed from; itself where it is in memory
    last_read: int = -1
    born: int = -1
    extra: tuple[Array, ...] = ()  # what is there while it is made, too


@dataclass
class _Program:
    devices: int
    values: list[_Value] = field(default_factory=list)
    place: int = 0


def most_at_once(program: ClosedJaxpr, parts: Sequence[int], devices: int) -> tuple[Array, ...]:
    """What a program has in memory, besides its arguments and results, at the moment at which that is most.

    Args:
        program: traced; its results take the place of arguments.
        parts: among how many devices each argument is divided.
        devices: of the mesh.
    """
    flat = _Program(devices)
    names: dict[Any, int] = {}
    for variable, divided in zip(program.jaxpr.invars, parts, strict=True):
        names[variable] = _add(flat, variable.aval, divided, None)
    for variable in program.jaxpr.constvars:
        names[variable] = _add(flat, variable.aval, 1, None)
    arguments = set(range(len(flat.values)))
    results = _run(flat, program.jaxpr, names, _read_whole(program.jaxpr))
    for result in results:
        _read(flat, result)
    return _peak(flat, arguments | set(results))


def _peak(flat: _Program, besides: set[int]) -> tuple[Array, ...]:
    there = [
        (value.born, value.last_read, value.array)
        for number, value in enumerate(flat.values)
        if number not in besides and number in value.made_of and value.last_read >= 0
    ]
    there += [(value.born, value.born, one) for value in flat.values for one in value.extra]
    changes: dict[int, int] = {}
    for born, last_read, array in there:
        changes[born] = changes.get(born, 0) + array.size
        changes[last_read + 1] = changes.get(last_read + 1, 0) - array.size
    now = most = 0
    when = -1
    for place in sorted(changes):
        now += changes[place]
        if now > most:
            most, when = now, place
    return tuple(array for born, last_read, array in there if born <= when <= last_read)


def _read_whole(jaxpr: Jaxpr) -> set[Any]:
    """Variables that XLA writes although they come element by element: something reads them that is given whole arrays,
    or several things do."""
    readers: dict[Any, int] = {}
    for equation in jaxpr.eqns:
        for variable in {v for v in equation.invars if not isinstance(v, Literal)}:
            readers[variable] = readers.get(variable, 0) + 1
    several = {
        variable
        for equation in jaxpr.eqns
        if equation.primitive.name not in _REPEATED
        for variable in equation.outvars
        if readers.get(variable, 0) > 1
    }
    return several | {
        variable
        for equation in jaxpr.eqns
        if equation.primitive.name in _WRITTEN
        for variable in equation.invars
        if not isinstance(variable, Literal)
    }


def _run(flat: _Program, jaxpr: Jaxpr, names: dict[Any, int], whole: set[Any]) -> list[int]:
    """The values that a program gives; its lines are added to those of `flat`."""
    for equation in jaxpr.eqns:
        flat.place += 1
        name = equation.primitive.name
        given = [names[v] for v in equation.invars if not isinstance(v, Literal)]
        inner = next((equation.params[key] for key in _INLINED if key in equation.params), None)
        if inner is not None and name not in _LOOPS:
            _inline(flat, equation, inner, names)
            continue
        is_written = name in _WRITTEN or name in _REDUCING
        if is_written:
            for number in given:
                _read(flat, number)
        rounds = [most_at_once(one, [1] * len(one.jaxpr.invars), flat.devices) for one in _bodies(equation)]
        extra = max(rounds, key=lambda arrays: sum(one.size for one in arrays), default=())  # of one round
        for place, variable in enumerate(equation.outvars):
            parts = _parts(flat, equation, given, variable.aval)
            in_memory = is_written or variable in whole
            if in_memory and not is_written:
                for number in given:
                    _read(flat, number)
            made_of = None if in_memory else frozenset().union(*(flat.values[n].made_of for n in given))
            names[variable] = _add(flat, variable.aval, parts, made_of)
            if place == 0:
                flat.values[-1].extra = extra
    return [names[v] for v in jaxpr.outvars if not isinstance(v, Literal)]


def _inline(flat: _Program, equation: Any, inner: Any, names: dict[Any, int]) -> None:
    jaxpr = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
    is_local = equation.primitive.name == "shard_map"
    own: dict[Any, int] = {}
    for variable, outer in zip(jaxpr.invars, equation.invars, strict=False):
        if isinstance(outer, Literal):
            own[variable] = _add(flat, variable.aval, 1, frozenset())
            continue
        value = flat.values[names[outer]]
        own[variable] = names[outer]
        if is_local:  # the same memory, by the shape that the device sees
            own[variable] = _add(flat, variable.aval, 1, value.made_of)
    for variable in jaxpr.constvars:
        own[variable] = _add(flat, variable.aval, 1, frozenset())
    whole = _read_whole(jaxpr)
    _run(flat, jaxpr, own, whole)
    for variable, outer in zip(jaxpr.outvars, equation.outvars, strict=True):
        if isinstance(variable, Literal):
            names[outer] = _add(flat, outer.aval, 1, frozenset())
        elif is_local:
            value, global_size = flat.values[own[variable]], outer.aval.size
            parts = max(1, global_size // max(1, variable.aval.size))
            names[outer] = _add(flat, outer.aval, parts, value.made_of)
        else:
            names[outer] = own[variable]


def _bodies(equation: Any) -> list[Any]:
    found = []
    for key in _LOOPS.get(equation.primitive.name, ()):
        body = equation.params[key]
        found += list(body) if isinstance(body, tuple | list) else [body]
    return found


def _parts(flat: _Program, equation: Any, given: list[int], aval: Any) -> int:
    sharding = equation.params.get("sharding")
    if equation.primitive.name == "sharding_constraint" and sharding is not None:
        return 1 if sharding.is_fully_replicated else flat.devices
    rows = {flat.values[n].array.shape[0] for n in given if flat.values[n].parts > 1 and flat.values[n].array.shape}
    return flat.devices if getattr(aval, "shape", ()) and aval.shape[0] in rows else 1


def _add(flat: _Program, aval: Any, parts: int, made_of: frozenset[int] | None) -> int:
    number = len(flat.values)
    shape, dtype = tuple(getattr(aval, "shape", ())), getattr(aval, "dtype", None)
    size = getattr(aval, "size", 0) * getattr(dtype, "itemsize", 4) // parts
    own = frozenset({number}) if made_of is None else made_of
    flat.values.append(_Value(Array(shape, str(dtype), size), parts, own, born=flat.place))
    return number


def _read(flat: _Program, number: int) -> None:
    for root in flat.values[number].made_of:
        flat.values[root].last_read = max(flat.values[root].last_read, flat.place)
