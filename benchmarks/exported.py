"""Exported models on the CPU: onnxruntime on `model.onnx` beside this project on the model that it was made of.

    python -m benchmarks.exported [--models NAME ...] [--rounds N] [--json FILE]

Both take the same aligned faces, uint8 in memory, use the same threads, and take turns. The networks are those that
published weights are known of, and NN2, with random weights, whose speed is that of any others, and each as it is used:
MobileFaceNet and IResNet with their mirrored images. Before anything is timed both formats must give the model's
embeddings; how far they differ stands beside the ratio.

Wants the extra `[export]`. Not here: what PyTorch exports of the same networks (`networks.py`), accelerators.
"""

import argparse
import dataclasses
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from benchmarks.rounds import Row, check_options, cores, take_turns
from faces import cli, outputs, run_record
from faces.mesh import make_mesh
from faces.preprocessing import WHOLE, Preprocessing
from faces.terminal import make_console
from recognizer import export
from recognizer.description import Description, Model, NetworkConfig, Origin, backbone_in
from recognizer.model import embedder_of

jax.config.update("jax_platforms", "cpu")

MODELS: dict[str, tuple[int, int, Literal["none", "sum"]]] = {
    "mobilefacenet_y1": (112, 128, "sum"),
    "iresnet18": (112, 512, "sum"),
    "inception_resnet_v1": (160, 512, "none"),
    "nn2": (224, 128, "none"),
}
"""Side, dimensions, and what becomes of the mirrored image."""
IMAGES = 32
GOAL = 1.0


def make_model(name: str) -> Model:
    """A network with random weights and the preprocessing of its kind."""
    side, dimensions, flip = MODELS[name]
    seen = Preprocessing((side, side), "rgb", 127.5, 128.0, "fixed_box", 0.0, 0, WHOLE, flip)
    description = Description(NetworkConfig(name, dimensions), seen, Origin("random weights", ""))
    backbone = backbone_in(description)
    params, batch_stats = jax.device_get(backbone.init(jax.random.key(0)))
    return Model(description, params, batch_stats, backbone.apply)


def compare(name: str, rounds: int) -> Row:
    """Parity of both formats, then turns."""
    model = make_model(name)
    contents = {kind: export.WRITERS[kind](model) for kind in export.FORMATS}
    on_onnxruntime = export.read_onnx(contents["onnx"], cores())
    differs = {
        "stablehlo": export.parity(model, export.read_stablehlo(contents["stablehlo"]), "stablehlo"),
        "onnx": export.parity(model, on_onnxruntime, "onnx"),
    }
    embed = embedder_of(model, make_mesh(1))
    pictures = np.random.default_rng(0).integers(0, 256, (IMAGES, *model.preprocessing.size, 3)).astype(np.uint8)
    times = take_turns({"ours": lambda: embed(pictures), "theirs": lambda: on_onnxruntime(pictures)}, rounds)
    ours, theirs = (1e3 * IMAGES / times[one]["median_ms"] for one in ("ours", "theirs"))
    mirrored = " and mirrored images" if model.preprocessing.flip == "sum" else ""
    remark = ", ".join(f"{kind} differs by {value:.1e}" for kind, value in differs.items())
    work = f"{name}, exported, B = {IMAGES}{mirrored}"
    return Row(work, "onnxruntime on ours", ours, theirs, "images/s", GOAL, remark)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exported", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=tuple(MODELS), default=tuple(MODELS), metavar="NAME",
                        help=f"of {', '.join(MODELS)} (default all)")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=11, metavar="N", help="rounds per comparison (default 11)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")
    options = parser.parse_args(arguments)
    check_options(parser, options)
    return options


def main(arguments: list[str]) -> None:
    options, console = parse(arguments), make_console()
    rows: list[Row] = []
    is_there = all(find_spec(package) for needed in export.NEEDED.values() for package in needed)
    if not is_there:
        console.print(f"left out: {export.EXTRA} brings what makes and runs these files")
    for name in options.models if is_there else ():
        with console.status(name):
            row = compare(name, options.rounds)
        console.print(f"{row.work}: {row.ours:.1f} images/s, {row.peer} {row.theirs:.1f}, ratio {row.ratio:.2f}; "
                      f"{row.remark}")  # fmt: skip
        rows.append(row)
    result = {"rows": [dataclasses.asdict(row) | {"ratio": row.ratio} for row in rows], "threads": cores()}
    result["environment"] = run_record.environment()
    if options.json:
        outputs.write_json(options.json, result)
    console.print(f"result: {json.dumps(result)}", markup=False)


if __name__ == "__main__":
    cli.run(main)
