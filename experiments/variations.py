"""Draw what a config's augmentation makes of faces: `python -m experiments.variations --config NAME --out DIR`.

Writes DIR/variations.png. A row is a face: as it is at the network's size, with each change alone that the config has
on, and at the right as training sees it, several times. A change that stands alone is done to every face, but for the
mirror and JPEG, which are done to half as always.

Not here: the changes (`faces.data.augment`, `faces.data.variations`).
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import arcface_jax.config
import facenet_jax.config
from experiments.common import passed_over
from experiments.common.arguments import config_of, place
from faces import cli
from faces.config import AugmentConfig, RunConfig
from faces.data.augment import augment, crop
from faces.data.open import open_source
from faces.data.source import FaceSource
from faces.data.synthetic.generated import generated_faces
from faces.evaluate.plots import INK, MUTED, save_figure, style
from faces.outputs import results_folder
from faces.terminal import make_console

ROWS, TOGETHER = 6, 5
OFF = AugmentConfig(flip=False, shift=0.0, zoom=0.0, rotate=0.0, colour=0.0, jpeg_quality=0)
SCHEMAS = {"facenet": facenet_jax.config.Config, "arcface": arcface_jax.config.Config}


def main(arguments: list[str]) -> None:
    """Parse, draw, say where."""
    options, console = parse(arguments), make_console()
    config: RunConfig = config_of(options.trained_as, options.config, SCHEMAS[options.trained_as])
    if options.data is None:
        faces: FaceSource = generated_faces(ROWS, 2, max(config.model.input_size), config.train.seed)
    else:
        opened = open_source(options.data)
        passed_over.tell(console, opened.ignored, f"passed over in {options.data}")
        faces = opened.source
    rng = np.random.default_rng(config.train.seed)
    chosen = np.sort(rng.choice(len(faces), min(ROWS, len(faces)), replace=False))
    images = [faces[int(index)] for index in chosen]
    with results_folder(options.out, options.overwrite) as out:
        draw(images, config, out / "variations.png", f"Augmentation of {options.config}")
    console.print(f"wrote {options.out / 'variations.png'}")


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.variations", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--config", default="arcface/robust", metavar="NAME", help="shipped config or a file")
    parser.add_argument("--trained-as", choices=SCHEMAS, default=None,
                        help="the paper whose config a file is; default: the folder of a shipped one")  # fmt: skip
    parser.add_argument("--data", type=Path, metavar="DIR", help="faces, as for training; default: generated ones")
    parser.add_argument("--out", type=place, required=True, metavar="DIR", help="folder to write the picture to")
    parser.add_argument("--overwrite", action="store_true", help="replace the results that DIR holds")
    options = parser.parse_args(arguments)
    if options.trained_as is None:
        options.trained_as = "facenet" if options.config.startswith("facenet/") else "arcface"
    return options


def draw(images: list[np.ndarray], config: RunConfig, path: Path, title: str) -> None:
    """The sheet.

    Args:
        images: uint8 (height, width, 3) each.
        config: whose augmentation, input size and seed.
        path: of the PNG.
        title: above.
    """
    size, seed, alone = config.model.input_size, config.train.seed, each_alone(config.augment)
    columns = [("as it is", None), *alone.items(), *((f"training {n + 1}", config.augment) for n in range(TOGETHER))]
    with style(grid=False):
        figure = Figure(figsize=(1.05 * len(columns), 1.05 * len(images) + 0.9), layout="constrained")
        figure.suptitle(title, fontsize=11, fontweight="bold")
        grid = figure.subplots(len(images), len(columns), squeeze=False)
        for row, image in enumerate(images):
            for column, (name, changes) in enumerate(columns):
                axes, rng = grid[row, column], np.random.default_rng((seed, row, column))
                axes.imshow(crop(image, size) if changes is None else augment(image, size, changes, rng))
                axes.set(xticks=[], yticks=[])
                for edge in axes.spines.values():
                    edge.set_visible(False)
                if row == 0:
                    colour = INK if changes is None or changes is config.augment else MUTED
                    axes.set_title(name.replace("_", "\n"), fontsize=7.5, color=colour)
        save_figure(figure, path)


def each_alone(config: AugmentConfig) -> dict[str, AugmentConfig]:
    """For each change that is on, by its field: a config with that one alone, on every image."""
    fields = [field.name for field in dataclasses.fields(config) if field.name != "share"]
    on = {name: getattr(config, name) for name in fields if getattr(config, name)}
    amounts = on | ({"grey": 1.0} if "grey" in on else {})  # a share of the images, and no amount
    return {name: dataclasses.replace(OFF, **{name: value}) for name, value in amounts.items()}


if __name__ == "__main__":
    cli.run(main)
