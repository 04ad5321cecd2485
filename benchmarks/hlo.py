"""What a compiled program does besides arithmetic, read from the text that XLA prints of it.

    text = jax.jit(step).lower(*arguments).compile().as_text()

is the program of ONE device after all of XLA's passes: shapes in it are a device's share, and what devices send each
other stands there as instructions of its own. Read here are those, transfers to the host, which arguments give their
memory to results, and the shapes of all arrays.

Not here: time and arithmetic (`roofline.py`), memory (the compiled program's `memory_analysis()`).
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")
HOST = ("infeed", "outfeed", "send", "recv", "send-done", "recv-done")
ON_DEVICE = ("TopK",)
"""Library routines that XLA calls by name, which run where the program runs."""

_BYTES = {"pred": 1, "bf16": 2} | {f"{kind}{bits}": bits // 8 for kind in "fsu" for bits in (8, 16, 32, 64)}
_ARRAY = re.compile(r"\b(pred|bf16|[fsu]\d+)\[([\d,]*)\]")
_COMPUTATION = re.compile(r"^(ENTRY )?%?(\S+) \(.*\{$")
_INSTRUCTION = re.compile(r"^ +(?:ROOT )?%?\S+ = (\(.*?\)|\S+) ([a-z][\w\-]*)\((.*)$")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition|(?:called|branch)_computations)=(\{[^}]*\}|%?[\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Collective:
    """One instruction by which devices exchange data."""

    kind: str
    """One of `COLLECTIVES`."""
    bytes: int
    """Of the arrays as they are whole: what an all-gather or an all-reduce gives, what a reduce-scatter takes."""
    shapes: tuple[Shape, ...]
    """Of its results, on a device."""
    times: int
    """How often a step runs it: more than once inside a loop."""


class _Instruction(NamedTuple):
    kind: str
    result: str
    rest: str
    times: int


def collectives(text: str) -> list[Collective]:
    """Every exchange between devices in an optimised program, those inside loops included.

    Raises:
        ValueError: an exchange inside a loop whose number of rounds XLA does not know.
    """
    partitions = re.search(r"num_partitions=(\d+)", text.partition("\n")[0])
    devices = int(partitions[1]) if partitions else 1
    found = []
    for kind, result, _, times in _instructions(text):
        base = kind.removesuffix("-start")
        if base in COLLECTIVES:
            if times == 0:
                raise ValueError(f"{kind} inside a loop of unknown length")
            arrays = list(_arrays(result))
            share = devices if base == "reduce-scatter" else 1
            size = share * sum(_BYTES[dtype] * math.prod(shape) for dtype, shape in arrays)
            found.append(Collective(base, size, tuple(shape for _, shape in arrays), times))
    return found


def bytes_by_kind(text: str) -> dict[str, int]:
    """Bytes of a step's collectives (`Collective.bytes` times `times`), of the kinds that occur."""
    totals: dict[str, int] = {}
    for one in collectives(text):
        totals[one.kind] = totals.get(one.kind, 0) + one.times * one.bytes
    return totals


def on_the_wire(totals: dict[str, int], devices: int) -> float:
    """Bytes that each device sends in a step, with the ring algorithms: (G - 1) / G of each array, twice if reduced."""
    return (devices - 1) / devices * sum((2 if kind == "all-reduce" else 1) * size for kind, size in totals.items())


def host_transfers(text: str) -> list[str]:
    """Instructions that wait for the host: feeds, sends, and calls of routines that are not in `ON_DEVICE`."""
    found = []
    for kind, _, rest, _ in _instructions(text):
        if kind == "custom-call":
            target = re.search(r'custom_call_target="([^"]*)"', rest)
            if target is None or target[1] not in ON_DEVICE:
                found.append(f"custom-call {target[1] if target else '?'}")
        elif kind in HOST:
            found.append(kind)
    return found


def donated(text: str) -> set[int]:
    """Numbers of the arguments whose memory holds a result after the call."""
    header = text.partition("\n")[0]
    aliases = re.search(r"input_output_alias=\{(.*?\)) \}", header)
    return {int(number) for number in re.findall(r": \((\d+), \{\}", aliases[1])} if aliases else set()


def shapes(text: str) -> set[Shape]:
    """Shapes of all arrays of the program, of any type, those inside fusions included."""
    return {shape for _, shape in _arrays(text)}


def _arrays(text: str) -> Iterator[tuple[str, Shape]]:
    for dtype, sizes in _ARRAY.findall(text):
        yield dtype, tuple(int(size) for size in sizes.split(",") if size)


def _instructions(text: str) -> Iterator[_Instruction]:
    """All instructions, each with how often the entry computation comes to run it; 0 where that is not known."""
    bodies: dict[str, list[tuple[str, str, str]]] = {}
    entry = name = ""
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            name = head[2]
            bodies[name] = []
            entry = name if head[1] else entry
        elif instruction := _INSTRUCTION.match(line):
            bodies[name].append((instruction[2], instruction[1], instruction[3]))

    def visit(name: str, times: int) -> Iterator[_Instruction]:
        for kind, result, rest in bodies[name]:
            yield _Instruction(kind, result, rest, times)
            trips = _TRIPS.search(rest)
            inside = times if kind != "while" else times * int(trips[1]) if trips else 0
            for group in _CALLED.findall(rest):
                for called in re.findall(r"[\w.\-]+", group):
                    yield from visit(called, inside)

    yield from visit(entry, 1)
