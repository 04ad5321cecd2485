"""Drop the images that sub-center ArcFace takes for wrongly labelled: `python -m experiments.clean RUN --out FILE`.

RUN is the folder of a run with `--head.sub-centres 3`; `--data` is what it trained on. The list that is written goes
into the next run: `python -m experiments.arcface --only FILE`, from the start, with one centre per class. Where the run
trained with `--data.wrong-labels`, which labels are wrong is known, and precision and recall are printed.
"""

import argparse
from pathlib import Path

import numpy as np

from arcface_jax import sub_center
from arcface_jax.config import Config
from experiments.common import keep_list as kept
from experiments.common import results
from experiments.common.arguments import place
from experiments.common.training_faces import Selection, training_faces
from faces import cli
from faces.data.fingerprint import fingerprint
from faces.data.source import Relabelled
from faces.errors import ConfigError, DataError
from faces.mesh import make_mesh
from faces.outputs import check_file
from faces.run_record import check_training_set
from faces.terminal import make_console
from recognizer.model import embed_faces, embedder_of, model_of, without_mirror
from recognizer.runs import centres_of, open_run

MOST_DROPPED = 0.6
"""v4 puts the wrong labels of the noisiest of its sets at about half."""


def main(arguments: list[str]) -> None:
    """Parse, embed, drop, report."""
    parser = argparse.ArgumentParser(prog="python -m experiments.clean", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a run with sub-centres")
    parser.add_argument("--data", type=Path, help="what the run trained on; default: its generated faces")
    parser.add_argument("--degrees", type=float, default=75.0, help="drop images farther from the dominant sub-centre")
    parser.add_argument("--out", type=place, required=True, help="the list to write")
    parser.add_argument("--overwrite", action="store_true", help="replace the list that is there")
    options = parser.parse_args(arguments)
    check_file(options.out, options.overwrite)
    run = open_run(options.run)
    config = run.config
    if not isinstance(config, Config) or config.head.sub_centres < 2:
        raise ConfigError(f"{options.run}: has no sub-centres; train with --head.sub-centres 3 first.")
    console = make_console()
    selection = Selection(config.data.min_images, config.data.wrong_labels)
    source = training_faces(options.data, config, console, selection)
    if remark := check_training_set(options.run, fingerprint(source)):
        console.print(remark)
    centres = centres_of(run, source)
    embed = embedder_of(without_mirror(model_of(run, options.run.name)), make_mesh())
    embeddings = embed_faces(embed, source, config.model.input_size, console)
    found = sub_center.keep(embeddings, source.identities, centres, options.degrees)

    if not found.kept.any():
        raise DataError(
            f"no image lies within {options.degrees:g} degrees of its class's dominant sub-centre, the nearest at "
            f"{found.angle.min():.1f}; give more with --degrees. Nothing was written."
        )
    dropped = ~found.kept
    result: dict[str, float | int] = {"images": len(source), "dropped": int(dropped.sum()), "degrees": options.degrees}
    if isinstance(source, Relabelled):
        hits = int((dropped & source.is_wrong).sum())
        result["wrong_labels"] = int(source.is_wrong.sum())
        result["precision"] = hits / max(1, int(dropped.sum()))
        result["recall"] = hits / max(1, int(source.is_wrong.sum()))
    kept.write(options.out, source, found.kept)
    console.print(f"{options.out}: {int(found.kept.sum()):,} of {len(source):,} images kept, within "
                  f"{options.degrees:g} degrees of their class's dominant sub-centre")  # fmt: skip
    for line in remarks(found, source.identities, options.degrees, run.step):
        console.print(f"remark: {line}")
    results.print_result(result)


def remarks(found: sub_center.Kept, labels: np.ndarray, degrees: float, step: int) -> list[str]:
    """What makes a list doubtful: more dropped than labels are ever wrong, and people without an image that stays.

    Args:
        found: which images stay.
        labels: class of each image, (images,).
        degrees: the angle up to which they do.
        step: of the run whose centres they were held against.
    """
    told, dropped = [], float(np.mean(~found.kept))
    if dropped > MOST_DROPPED:
        told.append(
            f"{dropped:.0%} of the images are dropped, more than labels are ever wrong: after {step:,} steps half of "
            f"the images lie more than {np.median(found.angle):.1f} degrees from their dominant sub-centre. The run "
            f"has hardly learnt to tell; train it longer, or give more than {degrees:g} with --degrees."
        )
    gone = len(np.unique(labels)) - len(np.unique(labels[found.kept]))
    if gone:
        told.append(f"of {gone:,} people no image is kept")
    return told


if __name__ == "__main__":
    cli.run(main)
