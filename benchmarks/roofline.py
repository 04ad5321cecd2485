"""How long would a step of the papers' configurations take on an H100 or a TPU v5e, at best?

    python -m benchmarks.roofline [--configs NAME ...] [--devices G] [--out FILE] [--json FILE]

Each step is traced and lowered for an accelerator from shapes alone, and never run. Taken from it:

- arithmetic: XLA's cost analysis of the program before XLA's own passes, which change it little;
- memory traffic, twice. At most: the same analysis, as if each operation read and wrote memory by itself. At least:
  what convolutions and matrix products take and give, all else fused into them, and the optimiser's pass over weights.
  A real compiler lies between;
- what each device holds: weights, their gradient and the optimiser's numbers, class centres, and what autodiff keeps of
  each image from forward to backward.

A step takes no less than its arithmetic at the chip's peak, nor than its traffic at the memory's. Exchanges between
devices are those that the tests of the compiled steps hold (`tests/*/test_train_step_hlo.py`).

Not here: latencies, kernels below their peak, the input pipeline. No such chip was at hand: nothing here is measured.
"""

import argparse
import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

import arcface_jax.config
import arcface_jax.train_step
import facenet_jax.config
import facenet_jax.train_step
from arcface_jax.partial_fc import num_sampled
from benchmarks.hlo import on_the_wire
from benchmarks.scaling import head_exchanges, network_exchanges, shape_of_batch
from faces import cli, outputs, run_record
from faces.backbone import Backbone
from faces.mesh import make_mesh
from faces.terminal import make_console
from faces.toml_config import load_config

CLASSES = {
    "arcface/table2_arcface_050": 10_575,  # CASIA-WebFace
    "arcface/table4_ms1mv2_r100": 85_742,
    "arcface/table4_ms1mv3_r100": 93_431,
    "arcface/table4_ibug500k_r100": 493_000,  # the paper rounds
    "arcface/partial_fc_glint360k_r100": 360_232,
}
CONFIGS = (*(f"facenet/{name}" for name in ("nn1", "nn2", "nn3", "nn4", "nns1", "nns2")), *CLASSES)
G = 8
PLATFORM = "cuda"


@dataclass(frozen=True)
class Chip:
    """Peaks of one chip, in units of 1."""

    name: str
    flops: float
    """Of float32 convolutions and products at JAX's default precision there: TF32, or bfloat16."""
    exact_flops: float
    """Of float32 products at `Precision.HIGHEST`, which scores and distances take."""
    bandwidth: float
    memory: float
    link: float
    """Bytes a second from one chip to the others, one way."""
    source: str


CHIPS = (
    Chip(
        "H100 SXM",
        494.7e12,
        66.9e12,
        3.35e12,
        80e9,
        450e9,
        "figures that others print, not read in NVIDIA's own sheet: TF32 without sparsity 494.7 TFLOP/s, "
        "float32 outside the tensor cores 66.9, HBM3 80 GB at 3.35 TB/s, NVLink 900 GB/s both ways",
    ),
    Chip(
        "TPU v5e",
        197e12,
        197e12 / 6,
        819e9,
        16e9,
        200e9,
        "Google's documentation of Cloud TPU v5e: bfloat16 197 TFLOP/s, HBM 16 GB at 819 GB/s, interconnect 400 GB/s "
        "both ways; float32 at highest precision counts as six bfloat16 passes",
    ),
)


@dataclass(frozen=True)
class Cost:
    """One configuration's step, for the whole batch unless it says otherwise."""

    config: str
    images: int
    classes: int
    flops: float
    """By XLA's cost analysis."""
    exact_flops: float
    """Of them at highest precision: scores, and their two gradients."""
    least_bytes: float
    most_bytes: float
    weight_bytes: float
    """Of `least_bytes`, what each device moves for its copy of the network, whatever its share of the batch."""
    held: float
    """Bytes that each of `devices` holds."""
    kept_per_image: float
    """Of them, what an image leaves from forward to backward."""
    sent: float
    """Bytes that each device sends."""
    devices: int

    def seconds(self, chip: Chip, traffic: float) -> float:
        """Of a step, if so many bytes are moved, by whichever takes longer."""
        arithmetic = (self.flops - self.exact_flops) / chip.flops + self.exact_flops / chip.exact_flops
        moved = (traffic - self.weight_bytes) / self.devices + self.weight_bytes
        return max(arithmetic / self.devices, moved / chip.bandwidth)


def of_config(name: str, devices: int) -> Cost:
    """Trace and lower the step of one configuration."""
    mesh = make_mesh(1)
    config: Any
    if name.startswith("facenet"):
        config, _ = load_config(name, facenet_jax.config.Config)
        package: Any = facenet_jax.train_step
        classes, options = 0, {}
    else:
        config, _ = load_config(name, arcface_jax.config.Config)
        package = arcface_jax.train_step
        classes, options = CLASSES[name], {"classes": CLASSES[name]}
    backbone, images, dim = package.own_backbone(config), config.batch.images, config.model.embedding_dim
    state = jax.eval_shape(lambda: package.init_state(config, mesh, backbone, classes))
    traced = package.make_train_step(config, mesh, backbone, **options).trace(state, shape_of_batch(config, mesh))
    analysis = traced.lower(lowering_platforms=(PLATFORM,)).cost_analysis()

    weights, of_optimiser, centres = (
        sum(x.size for x in jax.tree.leaves(part) if jnp.issubdtype(x.dtype, jnp.floating))
        for part in (state.params, state.opt_state, state.centres)
    )
    rate = config.head.sampling_rate if classes else 1.0
    taking_part = devices * num_sampled(-(-classes // devices), images, rate) if classes else 0
    exact = 3 * 2 * images * dim * taking_part
    kept = kept_per_image(backbone, state, config)
    share = of_optimiser * weights // (weights + centres)  # of the network; the rest is the centres', divided
    weight_bytes = 4 * 2 * (weights + share)
    held = 4 * (2 * weights + share) + 4 * (centres + of_optimiser - share + taking_part * dim) / devices
    held += kept * images / devices + 2 * 4 * images * taking_part / devices
    if classes:
        sent = head_exchanges(images, dim, rate < 1)
        sent["all-reduce"] += network_exchanges(state)
    else:
        sent = {"all-gather": 4 * images * (dim + 1), "all-reduce": 4 * images * (dim + 1) + network_exchanges(state)}
    centre_bytes = 4 * 2 * (centres + of_optimiser - share) * (rate if rate < 1 else 1)
    return Cost(
        config=name,
        images=images,
        classes=classes,
        flops=analysis["flops"],
        exact_flops=exact,
        least_bytes=product_bytes(traced.jaxpr) + weight_bytes + centre_bytes,
        most_bytes=analysis["bytes accessed"],
        weight_bytes=weight_bytes,
        held=held,
        kept_per_image=kept,
        sent=on_the_wire(sent, devices),
        devices=devices,
    )


def kept_per_image(backbone: Backbone, state: Any, config: Any) -> float:
    """Bytes that autodiff keeps of each image between forward and backward: the difference of 16 images and 8."""

    def kept(images: int) -> int:
        def pull_back(params: Any, batch: jax.Array) -> Any:
            key = jax.random.key(0)
            return jax.vjp(lambda p: backbone.apply(p, state_stats, batch, True, key)[0], params)[1]

        state_stats = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), state.batch_stats)
        batch = jax.ShapeDtypeStruct((images, *config.model.input_size, 3), jnp.float32)
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(jax.eval_shape(pull_back, state.params, batch)))

    return (kept(16) - kept(8)) / 8


def product_bytes(jaxpr: Any) -> float:
    """Bytes that the convolutions and matrix products of a traced program take and give."""
    total = 0.0
    for eqn in jaxpr.eqns:
        inner = [product_bytes(sub) for sub in jaxprs_in_params(eqn.params)]
        if eqn.primitive.name in ("conv_general_dilated", "dot_general"):
            total += sum(math.prod(v.aval.shape) * v.aval.dtype.itemsize for v in (*eqn.invars, *eqn.outvars))
        elif eqn.primitive.name == "cond":
            total += inner[-1]  # of what differs between platforms, the form for accelerators comes last
        elif eqn.primitive.name == "scan":
            total += eqn.params["length"] * sum(inner)
        else:
            total += sum(inner)
    return total


def as_markdown(costs: list[Cost]) -> str:
    """The page `benchmarks/roofline.md`."""
    devices = costs[0].devices
    lines = [
        "# Roofline: the papers' configurations on chips that were not at hand",
        "",
        f"Written by `python -m benchmarks.roofline`; its docstring says how. {devices} devices, the config's batch "
        "over all of them, float32. **Nothing here is measured.** Each time is what the chip cannot beat, by whichever "
        "of arithmetic and memory traffic takes longer, and is to be checked when such a machine is at hand.",
        "",
        "| config | images | classes | TFLOP a step | traffic, GB | FLOP a byte | sent by each device, MB |"
        " held by each device, GB | kept of an image, MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for cost in costs:
        intensity = f"{cost.flops / cost.most_bytes:.0f} to {cost.flops / cost.least_bytes:.0f}"
        lines.append(
            f"| {cost.config} | {cost.images:,} | {f'{cost.classes:,}' if cost.classes else ''}"
            f" | {cost.flops / 1e12:.2f} | {cost.least_bytes / 1e9:,.0f} to {cost.most_bytes / 1e9:,.0f} | {intensity}"
            f" | {cost.sent / 1e6:,.0f} | {cost.held / 1e9:.1f} | {cost.kept_per_image / 1e6:.0f} |"
        )
    for chip in CHIPS:
        lines += [
            "",
            f"## {devices} x {chip.name}",
            "",
            f"{chip.source}.",
            "",
            "| config | step at best, ms | images/s | bound by | exchanges, ms | fits |",
            "|---|---|---|---|---|---|",
        ]
        for cost in costs:
            low, high = (cost.seconds(chip, traffic) for traffic in (cost.least_bytes, cost.most_bytes))
            arithmetic, times = cost.seconds(chip, cost.weight_bytes), f"{1e3 * low:,.1f} to {1e3 * high:,.1f}"
            rates = f"{cost.images / high:,.0f} to {cost.images / low:,.0f}"
            bound = "arithmetic" if high == arithmetic else "memory" if low > arithmetic else "either"
            lines.append(
                f"| {cost.config} | {times} | {rates} | {bound} | {1e3 * cost.sent / chip.link:.2f}"
                f" | {'yes' if cost.held < chip.memory else 'no'} |"
            )
    lines += [
        "",
        "## How to read it",
        "",
        "- Arithmetic and the larger traffic are XLA's cost analysis of the program before its passes: the CPU's plan "
        "(its fusions, its depthwise convolutions as shifts) says little about another chip. It counts every "
        "operation's operands as read from memory, so that the larger traffic is far from what a compiler leaves. The "
        "smaller one is the operands and results of convolutions and products alone. A loop's body counts once; only "
        "mining has one, a small one.",
        "- Scores against class centres and distances are computed at highest precision: float32 outside the tensor "
        "cores on the H100, six passes on the TPU: they take more of the time than their share of the arithmetic.",
        "- Held: weights, their gradient, the optimiser's numbers, centres, scores and their gradient, and all that "
        "autodiff keeps of the device's images, before XLA shares or recomputes any of it. Where it does not fit: more "
        "devices, `batch.micro_batch` (FaceNet's networks without batch norm), `head.block`, or `model.dtype = "
        '"bfloat16"`, which halves what is kept.',
        "- Exchanges come on top where they do not overlap with the backward pass.",
        "",
    ]
    return "\n".join(lines)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.roofline", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--configs", nargs="+", default=CONFIGS, choices=CONFIGS, metavar="NAME", help="default: all")
    parser.add_argument("--devices", type=int, default=G, metavar="G", help=f"that share the batch (default {G})")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("roofline.md"), metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")
    options = parser.parse_args(arguments)
    for path in (options.out, options.json):
        if path and not path.parent.is_dir():
            parser.error(f"there is no folder {path.parent}; make it first")
    return options


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    console = make_console()
    costs = []
    for name in options.configs:
        with console.status(name):
            costs.append(of_config(name, options.devices))
        console.print(f"{name}: {costs[-1].flops / 1e12:.2f} TFLOP, {costs[-1].held / 1e9:.1f} GB on each device")
        outputs.write_text(options.out, as_markdown(costs))
    result = {"rows": [], "costs": [dataclasses.asdict(cost) for cost in costs]}
    if options.json:
        outputs.write_json(options.json, result | {"environment": run_record.environment()})
    console.print(f"result: {json.dumps(result)}", markup=False)


if __name__ == "__main__":
    cli.run(main)
