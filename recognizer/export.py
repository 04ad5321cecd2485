"""A model as one function that programs without this project run: StableHLO by `jax.export`, ONNX by jax2onnx.

The function takes aligned faces as `faces.preprocessing.align` makes them, uint8 (n, rows, columns, 3), RGB, any n, and
gives embeddings, float32 (n, d), of length 1: order and range of the channels and the mirrored image are inside. What a
program must do before that, alignment, is said by `notes`.

Not here: the command and its folder (`experiments.export`), alignment itself (`faces.align`).
"""

import contextlib
import importlib
import logging
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, Literal

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from faces.align import template
from faces.embed import embedding_form
from faces.errors import ConfigError, WeightsError
from faces.mesh import make_mesh
from faces.ops import by_definition
from recognizer.model import Model, as_trained, embedder_of

Format = Literal["stablehlo", "onnx"]
FORMATS: tuple[Format, ...] = ("stablehlo", "onnx")
FILES: dict[Format, str] = {"stablehlo": "model.stablehlo", "onnx": "model.onnx"}
PLATFORMS = ("cpu", "cuda", "tpu")
INPUT, OUTPUT = "images", "embeddings"
OPSET = 18
"""Of ONNX: the oldest that has all that the networks here are turned into, so that older runtimes read the file."""
BOUND = 1e-4
"""Largest difference of a value of an embedding, whose length is 1, between the model and what is exported of it."""
_FRAMES = "jax_traceback_in_locations_limit"
EXTRA = 'pip install ".[export]"'


def function_of(model: Model) -> Callable[[jax.Array], jax.Array]:
    """Aligned faces, uint8 (n, rows, columns, 3), RGB -> embeddings, float32 (n, d), of length 1; weights inside."""
    form = embedding_form(*as_trained(model), unit=True)
    params, batch_stats = jax.tree.map(jnp.asarray, (model.params, model.batch_stats))

    def embed(images: jax.Array) -> jax.Array:
        embeddings = form(params, batch_stats, images)
        if model.preprocessing.flip != "concatenate":
            return embeddings
        mirrored = form(params, batch_stats, images[:, :, ::-1])
        return jnp.concatenate([embeddings, mirrored], axis=1) / np.float32(np.sqrt(2))

    return embed


def to_stablehlo(model: Model) -> bytes:
    """What `jax.export.deserialize` reads: the function for CPUs, NVIDIA's GPUs and TPUs, and any number of images.

    Raises:
        ConfigError: flatbuffers is not installed.
    """
    check_installed("stablehlo")
    with _without_places():
        exported = jax.export.export(jax.jit(function_of(model)), platforms=PLATFORMS)(_any_number(model))
        return bytes(exported.serialize())


@contextlib.contextmanager
def _without_places() -> Iterator[None]:
    """Have JAX not write down which line of which file an operation comes from: paths of this machine are nobody's
    business elsewhere, and the same model is the same bytes wherever it is exported."""
    before = getattr(jax.config, _FRAMES)
    jax.config.update(_FRAMES, 0)
    try:
        yield
    finally:
        jax.config.update(_FRAMES, before)


def to_onnx(model: Model) -> bytes:
    """The function as one ONNX file, weights inside.

    Raises:
        ConfigError: jax2onnx or onnxruntime is not installed.
        WeightsError: the network holds an operation that jax2onnx does not know.
    """
    check_installed("onnx")
    jax2onnx, onnx_ir = importlib.import_module("jax2onnx"), importlib.import_module("onnx_ir")
    deduplication: Any = importlib.import_module("onnx_ir.passes.common")
    with by_definition(), _quiet():
        try:
            converted = jax2onnx.to_onnx(
                function_of(model), [_any_number(model)], model_name=model.name, opset=OPSET,
                input_names=[INPUT], output_names=[OUTPUT],
            )  # fmt: skip
        except NotImplementedError as error:
            raise WeightsError(
                f"{model.name}: jax2onnx cannot turn it into ONNX ({error}); write stablehlo alone."
            ) from None
        # The mirrored image passes through a second copy of the network, whose weights are the first's.
        whole = onnx_ir.from_proto(converted)
        deduplication.DeduplicateInitializersPass(size_limit=2**31)(whole)
        graph = onnx_ir.to_proto(whole)
    del graph.graph.value_info[:]  # shapes between nodes, in part of before channels moved; runtimes warn of each
    return graph.SerializeToString()


NEEDED: dict[Format, tuple[str, ...]] = {"stablehlo": ("flatbuffers",), "onnx": ("jax2onnx", "onnxruntime")}
"""Packages that make a format and check it, none of which JAX brings."""


def check_installed(name: Format) -> None:
    """Refuse a format where what makes and checks it is not installed.

    Raises:
        ConfigError: with the way out.
    """
    missing = [package for package in NEEDED[name] if find_spec(package) is None]
    if missing:
        (other,) = set(FORMATS) - {name}
        raise ConfigError(
            f"{' and '.join(missing)}: not installed, and needed for {name}; {EXTRA}, or write {other} alone, with "
            f"--format {other}."
        )


WRITERS: dict[Format, Callable[[Model], bytes]] = {"stablehlo": to_stablehlo, "onnx": to_onnx}


def read_stablehlo(content: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """The function in what `to_stablehlo` wrote, on this machine's devices."""
    exported = jax.export.deserialize(bytearray(content))
    return lambda images: np.asarray(exported.call(images))


def read_onnx(content: bytes, threads: int = 0) -> Callable[[np.ndarray], np.ndarray]:
    """The function in what `to_onnx` wrote, run by onnxruntime on the CPU.

    Args:
        threads: of onnxruntime; 0: as many as it chooses.
    """
    onnxruntime: Any = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run([OUTPUT], {INPUT: images})[0]


READERS: dict[Format, Callable[[bytes], Callable[[np.ndarray], np.ndarray]]] = {
    "stablehlo": read_stablehlo,
    "onnx": read_onnx,
}


def parity(model: Model, run: Callable[[np.ndarray], np.ndarray], what: str) -> float:
    """Largest difference of a value between embeddings of the model and of what was exported, on pictures of noise.

    Three pictures at once and one alone: what was exported takes any number.

    Args:
        model: as it is.
        run: aligned faces, uint8 (n, rows, columns, 3) -> (n, d).
        what: is run, for the refusal.
    Raises:
        WeightsError: it is above `BOUND`, or not a number.
    """
    pictures = np.random.default_rng(0).integers(0, 256, (3, *model.preprocessing.size, 3)).astype(np.uint8)
    expected = embedder_of(model, make_mesh(1), block=len(pictures))(pictures)
    given = np.concatenate([run(pictures), run(pictures[:1])])
    difference = float(np.abs(given - np.concatenate([expected, expected[:1]])).max())
    if not difference <= BOUND:
        raise WeightsError(
            f"{model.name}: its {what} gives embeddings that differ from the model's by {difference:.1e}, more than "
            f"{BOUND:g}. Nothing was written."
        )
    return difference


def notes(model: Model, differences: dict[Format, float]) -> dict[str, Any]:
    """What a program must know to use the files, as JSON.

    Args:
        model: that was exported.
        differences: of each format that was written, by `parity`.
    """
    seen, network = model.preprocessing, model.description.network
    rows, columns = seen.size
    alignment: dict[str, Any] = {"name": seen.alignment}
    if seen.alignment == "five_points":
        points = ("left eye", "right eye", "nose", "left corner of the mouth", "right corner of the mouth")
        alignment["template"] = {
            name: [round(float(value), 4) for value in point]
            for name, point in zip(points, template(seen.size), strict=True)
        }
    elif seen.alignment == "box_margin":
        alignment |= {"margin": seen.margin, "resized": seen.resized}
    elif seen.alignment == "fixed_box":
        alignment["box"] = list(seen.box)
    length = network.embedding_dim * (2 if seen.flip == "concatenate" else 1)
    return {
        "network": network.name,
        "origin": {"file": model.description.origin.file, "sha256": model.description.origin.sha256},
        "files": {FILES[name]: {"largest_difference": value} for name, value in differences.items()},
        "input": {"name": INPUT, "dtype": "uint8", "shape": ["n", rows, columns, 3], "channels": "rgb"},
        "output": {"name": OUTPUT, "dtype": "float32", "shape": ["n", length], "length": 1},
        "inside": {
            "channels": seen.channels,
            "illumination": seen.illumination,
            "mean": seen.mean,
            "scale": seen.scale,
            "flip": seen.flip,
        },
        "alignment": alignment,
        "threshold": model.threshold,
    }


def _any_number(model: Model) -> jax.ShapeDtypeStruct:
    (n,) = jax.export.symbolic_shape("n")
    return jax.ShapeDtypeStruct((n, *model.preprocessing.size, 3), jnp.uint8)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """onnx_ir warns of each value in a graph that has no type, which are those that jax2onnx left behind."""
    logger = logging.getLogger("onnx_ir")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
