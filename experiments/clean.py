"""Drop the images that sub-center ArcFace takes for wrongly labelled: `python -m experiments.clean RUN --out kept.json`.

RUN is the folder of a run with `--head.sub-centres 3`; `--data` is what it trained on. The list that is written goes
into the next run: `python -m experiments.arcface --only kept.json`, from the start, with one centre per class. Where the
run trained with `--data.wrong-labels`, which labels are wrong is known, and precision and recall are printed.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from rich.console import Console

from arcface_jax import sub_center
from arcface_jax.config import Config
from experiments import kept, training
from experiments.arcface import RECIPE
from experiments.networks import backbone_of
from experiments.runs import open_run
from faces import cli
from faces.data import augment
from faces.data.source import Relabelled
from faces.embed import make_embedder
from faces.errors import ConfigError
from faces.mesh import make_mesh

BLOCK = 1024
"""Images read at a time."""


def main(arguments: list[str]) -> None:
    """Parse, embed, drop, report."""
    parser = argparse.ArgumentParser(prog="python -m experiments.clean", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a run with sub-centres")
    parser.add_argument("--data", type=Path, help="what the run trained on; default: its generated faces")
    parser.add_argument("--degrees", type=float, default=75.0, help="drop images farther from the dominant sub-centre")
    parser.add_argument("--out", type=Path, required=True, help="the list to write")
    options = parser.parse_args(arguments)
    run = open_run(options.run)
    config = run.config
    if not isinstance(config, Config) or config.head.sub_centres < 2:
        raise ConfigError(f"{options.run}: has no sub-centres; train with --head.sub-centres 3 first.")
    source = training.training_faces(RECIPE, config, options.data)
    classes = int(source.identities.max()) + 1
    if classes > len(run.centres):
        raise ConfigError(f"{options.run}: has centres for {len(run.centres)} people at most, and {source.name} has "
                          f"{classes}; give the --data that it trained on.")  # fmt: skip

    embed = make_embedder(backbone_of(config.model, "arcface").apply, config.data, False, make_mesh())
    rows = []
    for start in range(0, len(source), BLOCK):
        part = range(start, min(start + BLOCK, len(source)))
        images = np.stack([augment.crop(source[index], config.model.input_size) for index in part])
        rows.append(embed(run.params, run.batch_stats, images))
    found = sub_center.keep(np.concatenate(rows), source.identities, run.centres[:classes], options.degrees)

    console = Console(soft_wrap=True)
    dropped = ~found.kept
    result: dict[str, float | int] = {"images": len(source), "dropped": int(dropped.sum()), "degrees": options.degrees}
    if isinstance(source, Relabelled):
        hits = int((dropped & source.is_wrong).sum())
        result["wrong_labels"] = int(source.is_wrong.sum())
        result["precision"] = hits / max(1, int(dropped.sum()))
        result["recall"] = hits / max(1, int(source.is_wrong.sum()))
    kept.write(options.out, source, found.kept)
    console.print(f"{options.out}: {int(found.kept.sum()):,} of {len(source):,} images kept, within {options.degrees:g} "
                  "degrees of their class's dominant sub-centre")  # fmt: skip
    print("result: " + json.dumps(result), flush=True)


if __name__ == "__main__":
    cli.run(main)
