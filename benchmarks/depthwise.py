"""Depthwise convolution on a CPU: sums of shifts and their own derivative against XLA's grouped convolution and JAX's.

    python -m benchmarks.depthwise [--images B] [--rounds N] [--json FILE]

Measured is what a network asks of `faces.depthwise_fast.depthwise_conv2d` and of its definition,
`faces.ops.depthwise_conv2d`, with the same arrays in turns: the result alone, and the result with both gradients, at
three maps of MobileFaceNet; of the gradients also those that JAX derives from the sum of shifts. All must agree.

Not here: whole networks (`networks.py`), accelerators, on which the two are one.
"""

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.rounds import Call, Row, check_options, cores, take_turns
from faces import cli, ops, outputs, run_record
from faces.depthwise_fast import depthwise_conv2d, sum_of_shifts
from faces.terminal import make_console

jax.config.update("jax_platforms", "cpu")

MAPS = ((56, 64, 1), (56, 128, 2), (14, 256, 1))
"""Side, channels, stride."""
PADDING = ((1, 1), (1, 1))
XLA, JAX = "XLA's grouped convolution", "sum of shifts, derived by JAX"
GOAL = 1.0
FORMS = {"ours": depthwise_conv2d, XLA: ops.depthwise_conv2d, JAX: sum_of_shifts}

Form = Callable[..., Any]


def result(form: Form, stride: int) -> Form:
    """Arrays -> the convolution."""
    return lambda x, kernel, weights: form(x, kernel, stride, PADDING)


def with_gradients(form: Form, stride: int) -> Form:
    """Arrays -> the convolution, and both gradients of its sum with `weights`."""

    def run(x: jax.Array, kernel: jax.Array, weights: jax.Array) -> Any:
        given, pull_back = jax.vjp(lambda x, kernel: form(x, kernel, stride, PADDING), x, kernel)
        return given, pull_back(weights)

    return run


def measure(images: int, rounds: int) -> list[Row]:
    """A row for each map and kind of work."""
    rows = []
    for side, channels, stride in MAPS:
        keys = jax.random.split(jax.random.key(0), 3)
        shapes = ((images, side, side, channels), (3, 3, channels), (images, side // stride, side // stride, channels))
        arrays = [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]
        for name, work, peers in (("fwd", result, [XLA]), ("fwd+bwd", with_gradients, [XLA, JAX])):
            calls = {form: compiled(work(FORMS[form], stride), arrays) for form in ("ours", *peers)}
            given = calls["ours"]()
            for peer in peers:
                jax.tree.map(check_agreement, given, calls[peer]())
            times = {form: each["median_ms"] for form, each in take_turns(calls, rounds).items()}
            what = f"depthwise 3x3 {name}, {images} x {side}x{side}x{channels}, stride {stride}"
            rows += [Row(what, peer, times["ours"], times[peer], "ms", GOAL) for peer in peers]
    return rows


def compiled(function: Form, arrays: list[jax.Array]) -> Call:
    """A call that gives its results for these arrays."""
    run = jax.jit(function).lower(*arrays).compile()
    return lambda: jax.block_until_ready(run(*arrays))


def check_agreement(ours: jax.Array, theirs: jax.Array) -> None:
    """To the rounding of sums in float32."""
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * float(jnp.abs(theirs).max()))


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.depthwise", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=16, metavar="B", help="of a batch (default 16)")
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="rounds per comparison (default 9)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")
    options = parser.parse_args(arguments)
    check_options(parser, options)
    return options


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    console = make_console()
    with console.status("depthwise"):
        rows = measure(options.images, options.rounds)
    for row in rows:
        console.print(f"{row.work}: {row.ours:,.1f} ms, {row.peer} {row.theirs:,.1f} ms: {row.ratio:.1f} times")
    measured = [dataclasses.asdict(row) | {"ratio": row.ratio} for row in rows]
    content = {"rows": measured, "threads": cores(), "environment": run_record.environment()}
    if options.json:
        outputs.write_json(options.json, content)
    console.print(f"result: {json.dumps(content)}", markup=False)


if __name__ == "__main__":
    cli.run(main)
