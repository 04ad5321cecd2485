"""Networks on the CPU, embedding and training, beside PyTorch and onnxruntime with the same weights.

    python -m benchmarks.networks [--networks NAME ...] [--only embedding|training] [--rounds N] [--json FILE]

Embedding is the network's evaluation form on images that lie in memory, normalised; training is the forward pass in
training form, a mean over products of embeddings in place of a loss, the backward pass and SGD with momentum. Peers are
PyTorch as it is (eager, channels last), PyTorch compiled (`torch.compile`), and for embeddings onnxruntime on the
network that PyTorch exports. All get the same weights, images and threads, and take turns.

Before anything is timed all must give the same embeddings, within 1e-4 once they are of length 1. Beside each ratio
stands how much of this machine's matrix product (`limits`) the network's multiply-adds come to.

What is not installed is left out: `pip install torch onnx onnxscript onnxruntime`.

Not here: accelerators (everything runs on the CPU), bfloat16, the loss and its class centres (`margin_head.py`).
"""

import argparse
import dataclasses
import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.table import Table

from benchmarks.rounds import SGEMM_FLOPS, Call, Row, check_options, cores, limits, take_turns
from faces import cli, counts, embed, outputs, run_record
from faces.backbone import Backbone, BatchStats, Params
from faces.config import ModelConfig
from faces.terminal import make_console
from recognizer.networks import backbone_of

jax.config.update("jax_platforms", "cpu")

OURS, EAGER, COMPILED, ONNX = "ours", "torch eager", "torch.compile", "onnxruntime"
DIM = 512
LEARNING_RATE, MOMENTUM = 1e-4, 0.9


class Work(NamedTuple):
    """A network, its batches, and the ratios asked for."""

    embedding: dict[int, dict[str, float]]  # batch -> peer -> goal
    training: dict[int, dict[str, float]]


WORKS = {
    "mobilefacenet": Work(
        {batch: {EAGER: 1.5, COMPILED: 1.0, ONNX: 1.0} for batch in (1, 64)}, {64: {EAGER: 1.0, COMPILED: 1.0}}
    ),
    "iresnet50": Work({32: {EAGER: 0.9}}, {16: {EAGER: 0.8}}),
    "inception_resnet_v1": Work({32: {EAGER: 0.9}}, {16: {EAGER: 0.8}}),
}


class Ours(NamedTuple):
    """A network of this project with weights."""

    backbone: Backbone
    params: Params
    batch_stats: BatchStats


def make_ours(name: str) -> Ours:
    size = (160, 160) if name == "inception_resnet_v1" else (112, 112)
    backbone = backbone_of(ModelConfig(name, size, DIM, "float32", "global"), "arcface")
    return Ours(backbone, *backbone.init(jax.random.key(0)))


def images_for(ours: Ours, batch: int) -> np.ndarray:
    """float32 (batch, rows, columns, 3) as normalised pixels are."""
    return np.random.default_rng(0).uniform(-1, 1, (batch, *ours.backbone.input_size, 3)).astype(np.float32)


def our_embedding(ours: Ours, images: np.ndarray) -> Callable[[], np.ndarray]:
    """The compiled evaluation form on these images, as many at a time as `faces.embed` takes."""
    step = embed.BLOCK_ON_CPU
    params, batch_stats = jax.device_put((ours.params, ours.batch_stats))
    parts = [jax.device_put(images[start : start + step]) for start in range(0, len(images), step)]
    forward = jax.jit(lambda p, s, x: ours.backbone.apply(p, s, x, False)[0])
    return lambda: np.concatenate([np.asarray(forward(params, batch_stats, part)) for part in parts])


def our_training(ours: Ours, images: np.ndarray) -> Call:
    """One training step, its state handed on to the next call."""
    optimiser = optax.sgd(LEARNING_RATE, MOMENTUM)

    def mean_product(params: Params, batch_stats: BatchStats, images: jax.Array, key: jax.Array) -> Any:
        embeddings, batch_stats = ours.backbone.apply(params, batch_stats, images, True, key)
        return jnp.mean(embeddings * embeddings[::-1]), batch_stats

    def step(state: Any, images: jax.Array) -> Any:
        params, batch_stats, momenta, key = state
        key, step_key = jax.random.split(key)
        gradient = jax.grad(mean_product, has_aux=True)
        grads, batch_stats = gradient(params, batch_stats, images, step_key)
        updates, momenta = optimiser.update(grads, momenta)
        return optax.apply_updates(params, updates), batch_stats, momenta, key

    state = jax.tree.map(jnp.array, (ours.params, ours.batch_stats, optimiser.init(ours.params), jax.random.key(1)))
    placed = jax.device_put(images)
    compiled = jax.jit(step, donate_argnums=0).lower(state, placed).compile()

    def call() -> Any:
        nonlocal state
        state = jax.block_until_ready(compiled(state, placed))

    return call


def torch_embedding(torch: Any, network: Any, images: np.ndarray) -> Callable[[], np.ndarray]:
    """Its evaluation form; `network` may be compiled."""
    placed = torch.from_numpy(images.transpose(0, 3, 1, 2))  # channels last in memory, as the network wants it

    def call() -> np.ndarray:
        with torch.inference_mode():
            return network(placed).numpy()

    return call


def torch_training(torch: Any, network: Any, images: np.ndarray) -> Call:
    """One training step; `network` may be compiled."""
    placed = torch.from_numpy(images.transpose(0, 3, 1, 2))
    optimiser = torch.optim.SGD(network.parameters(), LEARNING_RATE, MOMENTUM)

    def call() -> Any:
        optimiser.zero_grad(set_to_none=True)
        embeddings = network(placed)
        loss = (embeddings * embeddings.flip(0)).mean()
        loss.backward()
        optimiser.step()
        return loss.item()

    return call


def onnx_embedding(torch: Any, network: Any, images: np.ndarray) -> Callable[[], np.ndarray]:
    """onnxruntime on what PyTorch exports."""
    onnxruntime: Any = importlib.import_module("onnxruntime")
    file, nchw = io.BytesIO(), np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.from_numpy(nchw),), file, input_names=["images"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"images": nchw})[0]


def embedding_calls(name: str, batch: int, peers: Iterable[str]) -> dict[str, Callable[[], np.ndarray]]:
    """Ours and those peers that are installed; the same embeddings from all, or an AssertionError."""
    ours = make_ours(name)
    images = images_for(ours, batch)
    calls = {OURS: our_embedding(ours, images)}
    if find_spec("torch"):
        torch, network = _torch(name, ours)
        network.eval()
        for peer in peers:
            if peer != ONNX:
                calls[peer] = torch_embedding(torch, torch.compile(network) if peer == COMPILED else network, images)
            elif find_spec("onnxruntime"):
                calls[peer] = onnx_embedding(torch, network, images)
    expected = _of_length_one(calls[OURS]())
    for peer, call in calls.items():
        difference = np.abs(_of_length_one(call()) - expected).max()
        assert difference < 1e-4, f"{name}, {peer}: embeddings differ by {difference}"
    return calls


def training_calls(name: str, batch: int, peers: Iterable[str]) -> dict[str, Call]:
    """Ours and those peers that are installed."""
    ours = make_ours(name)
    images = images_for(ours, batch)
    calls = {OURS: our_training(ours, images)}
    if find_spec("torch"):
        for peer in peers:
            torch, network = _torch(name, ours)
            network.train()
            calls[peer] = torch_training(torch, torch.compile(network) if peer == COMPILED else network, images)
    return calls


def _torch(name: str, ours: Ours) -> tuple[Any, Any]:
    torch_networks = importlib.import_module("benchmarks.torch_networks")
    torch_networks.torch.set_num_threads(cores())
    return torch_networks.torch, torch_networks.make(name, ours.params, ours.batch_stats, DIM)


def _of_length_one(embeddings: np.ndarray) -> np.ndarray:
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def multiply_adds(name: str) -> int:
    """Of one image, forward."""
    ours = make_ours(name)
    image = jax.ShapeDtypeStruct((1, *ours.backbone.input_size, 3), jnp.float32)
    return counts.multiply_adds(lambda x: ours.backbone.apply(ours.params, ours.batch_stats, x, False), image)["total"]


def compare(name: str, kind: str, batch: int, goals: dict[str, float], rounds: int) -> list[Row]:
    """Time all in turns; one row for each peer, or one without a peer where none is installed."""
    calls = (embedding_calls if kind == "embedding" else training_calls)(name, batch, goals)
    times = take_turns({**calls, "sgemm": limits()["sgemm"]}, rounds, budget=60.0)
    rates = {peer: 1e3 * batch / times[peer]["median_ms"] for peer in calls}
    passes = 1 if kind == "embedding" else 3  # the backward pass is two more
    gflops = passes * 2 * multiply_adds(name) * rates[OURS] / 1e9
    peak = SGEMM_FLOPS / times["sgemm"]["median_ms"] / 1e6
    remark = f"{gflops:.0f} GFLOP/s, {gflops / peak:.2f} of sgemm"
    work = f"{name} {kind}, B = {batch}"
    return [
        Row(work, peer, rates[OURS], rates[peer], "images/s", goals[peer], remark) for peer in goals if peer in rates
    ] or [Row(work, "nobody", rates[OURS], rates[OURS], "images/s", 1.0, remark)]


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.networks", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=tuple(WORKS), default=tuple(WORKS), metavar="NAME",
                        help=f"of {', '.join(WORKS)} (default all)")  # fmt: skip
    parser.add_argument("--only", choices=("embedding", "training"), help="default both")
    parser.add_argument("--rounds", type=int, default=11, metavar="N", help="rounds per comparison (default 11)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")
    options = parser.parse_args(arguments)
    check_options(parser, options)
    return options


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    logging.getLogger("torch").setLevel(logging.ERROR)
    console = make_console()
    table = Table("", "peer", title=f"Images per second, {cores()} threads")
    for title in ("ours", "peer's", "ratio", "goal", ""):
        table.add_column(title, justify="right" if title else "left")
    rows: list[Row] = []
    for name in options.networks:
        for kind in ("embedding", "training"):
            if options.only not in (None, kind):
                continue
            for batch, goals in getattr(WORKS[name], kind).items():
                with console.status(f"{name}, {kind}, B = {batch}"):
                    found = compare(name, kind, batch, goals, options.rounds)
                for row in found:
                    numbers = (f"{row.ours:,.1f}", f"{row.theirs:,.1f}", f"{row.ratio:.2f}", f"{row.goal:.1f}")
                    table.add_row(row.work, row.peer, *numbers, row.remark)
                rows += found
    console.print(table)
    result = {"rows": [dataclasses.asdict(row) | {"ratio": row.ratio} for row in rows], "threads": cores()}
    result["environment"] = run_record.environment()
    if options.json:
        outputs.write_json(options.json, result)
    console.print(f"result: {json.dumps(result)}", markup=False)


if __name__ == "__main__":
    cli.run(main)
