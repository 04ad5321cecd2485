"""What do 1, 2, 4 and 8 devices send each other in a step, and what does each of them hold?

    python -m benchmarks.scaling [--classes C] [--batch B] [--dim D] [--json FILE]

Three programs are compiled for so many virtual CPU devices, from shapes alone, and never run:

- the ArcFace head: loss of Eq. (3), mean, gradients of embeddings and centres; all scores at once, and in blocks;
- a step of ArcFace training, whole, with Partial FC's sample of the centres as well;
- a step of FaceNet training.

Bytes are read from the optimised program (`hlo.py`), memory from XLA's plan of it. Beside them stand the formulas of
ArcFace v3, Appendix 5.1: a device holds 4 d n / G bytes of centres, 4 B n / G of scores and 4 B d of embeddings.
Nothing that is sent depends on the number of classes n.

Not here: time, and the plan that another platform's compiler would make.
"""

import argparse
import dataclasses
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

import arcface_jax.config
import arcface_jax.partial_fc
import arcface_jax.train_step
import facenet_jax.config
import facenet_jax.train_step
from arcface_jax import head
from arcface_jax.centres import padded_classes
from arcface_jax.margins import ARCFACE
from benchmarks import hlo
from faces import cli, outputs, run_record
from faces.mesh import make_mesh, sharded
from faces.terminal import make_console
from faces.toml_config import load_config

DEVICES = (1, 2, 4, 8)
S, BLOCK, RATE = 64.0, 4096, 0.1
STEP_CLASSES = 85_742
MIB = 2**20

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", DEVICES[-1])


@dataclass(frozen=True)
class Measured:
    """One program on one number of devices; bytes."""

    program: str
    devices: int
    sent: dict[str, int]
    """By kind of exchange, of whole arrays, as `hlo.bytes_by_kind` counts; nothing on one device."""
    sent_formula: dict[str, int]
    wire: float
    """What each device sends with ring algorithms."""
    arguments: int
    results: int
    """Of them those that no argument makes room for."""
    temporaries: int
    memory_formula: dict[str, int]
    """What the paper counts on each device, by item."""


def measured(program: str, compiled: Any, devices: int, sent: dict[str, int], memory: dict[str, int]) -> Measured:
    """Read a compiled program.

    Args:
        sent, memory: what the formulas say.
    """
    totals = hlo.bytes_by_kind(compiled.as_text()) if devices > 1 else {}
    plan = compiled.memory_analysis()
    return Measured(
        program,
        devices,
        totals,
        sent if devices > 1 else {},
        hlo.on_the_wire(totals, devices),
        plan.argument_size_in_bytes,
        plan.output_size_in_bytes - plan.alias_size_in_bytes,
        plan.temp_size_in_bytes,
        memory,
    )


def head_exchanges(batch: int, dim: int, gathers_places: bool = False) -> dict[str, int]:
    """What the head sends: embeddings and back their gradient; of each image its label, the gradient of its loss, and
    two sums and a maximum of scores; with Partial FC the label's place in the sample, twice."""
    places = 4 * batch if gathers_places else 0
    return {
        "all-gather": 4 * batch * (dim + 2) + places,
        "reduce-scatter": 4 * batch * dim + places,
        "all-reduce": 3 * 4 * batch,
    }


def of_head(options: argparse.Namespace, block: int, devices: int) -> Measured:
    """The head alone."""
    classes, batch, dim, mesh = options.classes, options.batch, options.dim, make_mesh(devices)

    def mean_loss(x: jax.Array, w: jax.Array, labels: jax.Array) -> jax.Array:
        return jnp.mean(head.class_loss(x, w, labels, head.margin_head(ARCFACE, S), mesh, classes, block))

    rows = padded_classes(classes, devices)
    shapes = ((batch, dim), jnp.float32), ((rows, dim), jnp.float32), ((batch,), jnp.int32)
    arguments = [jax.ShapeDtypeStruct(shape, dtype, sharding=sharded(mesh)) for shape, dtype in shapes]
    of_inputs = sharded(mesh), sharded(mesh)
    program = jax.jit(jax.value_and_grad(mean_loss, argnums=(0, 1)), out_shardings=(None, of_inputs))
    at_once = min(block, rows // devices) if block else rows // devices
    memory = {
        "centres": 4 * dim * rows // devices,
        "scores": 4 * batch * at_once,
        "embeddings": 4 * batch * dim,
    }
    name = "head, all scores" if block == 0 else f"head, blocks of {block:,}"
    return measured(name, program.lower(*arguments).compile(), devices, head_exchanges(batch, dim), memory)


def of_arcface_step(rate: float, devices: int) -> Measured:
    """A step on the smallest config's network with MS1MV2's classes."""
    config, _ = load_config("arcface/tiny", arcface_jax.config.Config)
    config = config.with_(head__sampling_rate=rate)
    mesh, batch, dim = make_mesh(devices), config.batch.images, config.model.embedding_dim
    state = jax.eval_shape(lambda: arcface_jax.train_step.init_state(config, mesh, classes=STEP_CLASSES))
    step: Any = arcface_jax.train_step.make_train_step(config, mesh, classes=STEP_CLASSES)
    sent = head_exchanges(batch, dim, rate < 1)
    sent["all-reduce"] += network_exchanges(state)
    rows = state.centres.shape[0] // devices
    taking_part = rows if rate == 1 else arcface_jax.partial_fc.num_sampled(rows, batch, rate)
    memory = {"centres": 4 * dim * rows, "scores": 4 * batch * taking_part, "embeddings": 4 * batch * dim}
    name = "ArcFace step" if rate == 1 else f"ArcFace step, Partial FC {rate:g}"
    return measured(name, step.lower(state, shape_of_batch(config, mesh)).compile(), devices, sent, memory)


def of_facenet_step(devices: int) -> Measured:
    """A step on the smallest config's network."""
    config, _ = load_config("facenet/tiny", facenet_jax.config.Config)
    mesh, batch, dim = make_mesh(devices), config.batch.images, config.model.embedding_dim
    state = jax.eval_shape(lambda: facenet_jax.train_step.init_state(config, mesh))
    step: Any = facenet_jax.train_step.make_train_step(config, mesh)
    sent = {"all-gather": 4 * batch * (dim + 1), "all-reduce": 4 * batch * (dim + 1) + network_exchanges(state)}
    memory = {"distances": 4 * batch * batch // devices, "embeddings": 4 * batch * dim}
    return measured("FaceNet step", step.lower(state, shape_of_batch(config, mesh)).compile(), devices, sent, memory)


def network_exchanges(state: Any) -> int:
    """Bytes of the parameters' gradient, and of batch norm's two sums a channel, forward and backward."""
    return 4 * sum(x.size for x in jax.tree.leaves(state.params)) + 2 * 4 * sum(
        x.size for x in jax.tree.leaves(state.batch_stats)
    )


def shape_of_batch(config: Any, mesh: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """A batch that need not exist."""
    batch = config.batch.images
    return {
        "images": jax.ShapeDtypeStruct((batch, *config.model.input_size, 3), jnp.uint8, sharding=sharded(mesh)),
        "identities": jax.ShapeDtypeStruct((batch,), jnp.int32, sharding=sharded(mesh)),
    }


def print_table(console: Console, rows: list[Measured]) -> None:
    """All programs, one line for each number of devices."""
    table = Table("program", "G", title="Bytes of a step's exchanges, and MiB on each device")
    for title in ("all-gather", "reduce-scatter", "all-reduce", "formula", "each sends"):
        table.add_column(title, justify="right")
    for title in ("arguments", "results", "temporaries", "paper's items, MiB"):
        table.add_column(title, justify="right" if title != "paper's items, MiB" else "left")
    for row in rows:
        kinds = [f"{row.sent.get(kind, 0):,}" for kind in ("all-gather", "reduce-scatter", "all-reduce")]
        formula = f"{sum(row.sent_formula.values()):,}"
        memory = [f"{size / MIB:,.1f}" for size in (row.arguments, row.results, row.temporaries)]
        items = ", ".join(f"{item} {size / MIB:,.1f}" for item, size in row.memory_formula.items())
        table.add_row(row.program, str(row.devices), *kinds, formula, f"{row.wire:,.0f}", *memory, items)
    console.print(table)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.scaling", description=(__doc__ or "").split("\n")[0])
    whole = partial(parser.add_argument, type=int, metavar="N")
    whole("--classes", default=1_000_000, help="n of the head (default 1000000)")
    whole("--batch", default=512, help="B of the head (default 512)")
    whole("--dim", default=512, help="d of the head (default 512)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")
    options = parser.parse_args(arguments)
    if min(options.classes, options.dim) < 1 or options.batch % DEVICES[-1]:
        parser.error(f"--classes, --dim: at least 1 is needed; --batch: a multiple of {DEVICES[-1]}")
    if options.json and not options.json.parent.is_dir():
        parser.error(f"--json: there is no folder {options.json.parent}; make it first")
    return options


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    console = make_console()
    console.width = max(console.width, 160)  # the table says nothing once its numbers are cut
    programs = (
        partial(of_head, options, 0),
        partial(of_head, options, BLOCK),
        partial(of_arcface_step, 1.0),
        partial(of_arcface_step, RATE),
        of_facenet_step,
    )
    rows = []
    for program in programs:
        for devices in DEVICES:
            with console.status(f"program {len(rows) + 1} of {len(programs) * len(DEVICES)}"):
                rows.append(program(devices))
    print_table(console, rows)
    result = {
        "rows": [],
        "scaling": [dataclasses.asdict(row) for row in rows],
        "environment": run_record.environment(),
    }
    if options.json:
        outputs.write_json(options.json, result)
    console.print(f"result: {json.dumps(result)}", markup=False)


if __name__ == "__main__":
    cli.run(main)
