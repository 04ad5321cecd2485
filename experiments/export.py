"""Write a model as files that run without this project: `python -m experiments.export MODEL --to DIR`.

MODEL is a name of `experiments.models`, a folder that `experiments.convert` or a training run wrote, or a file of
published weights. DIR receives

- `model.stablehlo`: for `jax.export.deserialize`, on CPUs, NVIDIA's GPUs and TPUs;
- `model.onnx`: for onnxruntime and its like, in pip's extra `[export]`;
- `preprocessing.json`: what a program must know: input, output, alignment with its points, threshold;
- `model.toml`: the same as this project keeps it.

Both files take aligned faces, uint8 (n, rows, columns, 3), RGB, any number of them, and give embeddings of length 1,
float32 (n, d). Each is run and held against the model first; what differs by more than 1e-4 is not written.
"""

import argparse
from pathlib import Path

from experiments.common.arguments import add_pixels, place, told_in
from faces import cli
from faces.outputs import results_folder, write_bytes, write_json, write_text
from faces.terminal import make_console
from faces.toml_config import to_toml
from recognizer import export
from recognizer.description import DESCRIPTION
from recognizer.model import open_model

NOTES = "preprocessing.json"


def main(arguments: list[str]) -> None:
    """Open, export, compare, write."""
    options, console = parse(arguments), make_console()
    told = told_in(options)
    for name in options.format:
        export.check_installed(name)
    with results_folder(options.to, options.overwrite) as folder:
        model = open_model(options.model, options.network, options.symbol, told=told)
        differences: dict[export.Format, float] = {}
        for name in dict.fromkeys(options.format):
            with console.status(name):
                content = export.WRITERS[name](model)
                differences[name] = export.parity(model, export.READERS[name](content), name)
            write_bytes(folder / export.FILES[name], content)
            console.print(
                f"{export.FILES[name]}: {len(content):,} bytes; embeddings differ from the model's by at most "
                f"{differences[name]:.1e} (allowed: {export.BOUND:g})"
            )
        write_json(folder / NOTES, export.notes(model, differences))
        write_text(folder / DESCRIPTION, to_toml(model.description))
    console.print(f"everything is in {options.to}")


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.export", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path, metavar="MODEL",
                        help="a name, a converted model, a run, or a file of weights")  # fmt: skip
    parser.add_argument("--to", type=place, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--format", nargs="+", choices=export.FORMATS, default=export.FORMATS, metavar="NAME",
                        help="stablehlo, onnx, or both (default)")  # fmt: skip
    parser.add_argument("--network", metavar="NAME", help="the network that a file is of (default: found out)")
    parser.add_argument("--symbol", type=Path, metavar="JSON", help="MXNet's graph (default: the one beside MODEL)")
    add_pixels(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier export left in DIR")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    cli.run(main)
