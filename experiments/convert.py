"""Turn published weights into a model of this project: its checkpoint, and the preprocessing that belongs to it.

    python -m experiments.convert MODEL [--symbol JSON] [--network NAME] --to DIR [--overwrite]
    python -m experiments.convert MODEL --channels bgr --mean 127.5 --scale 128 --size 112 112 --to DIR

MODEL is a file, or a name of `experiments.models`. A file's network is told by its hash, where that is known, or by the
tensors' names and shapes, which is said; and a file that does not fit it in every tensor is refused.
DATA.md lists the layouts that are known. Where several programs name their tensors alike and trained on other colours,
a program is the NAME that is asked for: adaface, tface, insightface_pytorch, face_evolve, magface or arcface_torch.
Where somebody trained on other pixels than the layout's own, `--channels`, `--mean`, `--scale` and `--size` say which,
(x - mean) / scale of values of 0 to 255, and are stored with the weights.
"""

import argparse
from pathlib import Path

from rich.console import Console

from experiments.common.arguments import add_manifest, add_pixels, place, told_in
from faces import cli
from faces.counts import TOTAL, parameters
from faces.outputs import check_folder, check_free
from faces.terminal import make_console
from recognizer.manifest import find_model
from recognizer.model import Model, convert, write_model
from recognizer.told import plain


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    told = told_in(options)
    check_free(options.to, options.overwrite)
    check_folder(options.to)
    file = find_model(options.file, options.manifest)
    model = convert(file, options.network, options.symbol, options.state_dict, options.manifest, told)
    write_model(model, options.to, options.overwrite)
    report(make_console(), model, options.to)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.convert", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path, metavar="MODEL", help="the published weights: a file, or a name")
    parser.add_argument("--symbol", type=Path, metavar="JSON", help="MXNet's graph (default: the one beside FILE)")
    parser.add_argument("--state-dict", metavar="KEY", help="of PyTorch's checkpoints (default: found out)")
    of = "the network that FILE is of, or the program that trained it (default: found out)"
    parser.add_argument("--network", metavar="NAME", help=of)
    parser.add_argument("--to", type=place, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace the model that DIR holds")
    add_pixels(parser)
    add_manifest(parser)
    return parser.parse_args(arguments)


def report(console: Console, model: Model, folder: Path) -> None:
    """Print what was converted."""
    network, seen = model.description.network, model.preprocessing
    numbers = parameters(model.params)[TOTAL]
    console.print(f"{network.name}, {network.embedding_dim} dimensions, {numbers:,} parameters")
    pixels = f"{seen.size[0]}x{seen.size[1]} {seen.channels}, (x - {plain(seen.mean)}) / {plain(seen.scale)}"
    pixels += f", light by {seen.illumination}" if seen.illumination else ""
    console.print(f"takes {pixels}, aligned by {seen.alignment}, flip: {seen.flip}")
    if model.remark:
        console.print(model.remark)
    console.print(f"written to {folder}")


if __name__ == "__main__":
    cli.run(main)
