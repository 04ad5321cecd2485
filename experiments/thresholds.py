"""Choose a model's cosines on people who are in no test set: `python -m experiments.thresholds PEOPLE --out DIR`.

PEOPLE are labelled faces of any kind that `experiments.prepare` reads: photographs in a folder for each person, a
prepared set, InsightFace's records. Some people are drawn, and of each some pictures. Two cosines come out, for the
table `[verification]` and the table `[clustering]` of a model's `model.toml`:

- for two faces: which at most `--far` of all pairs of different people reach;
- for clusters: at which albums that are drawn from these people, of 10 to 100 people with 1 to 10 pictures each, agree
  best with who is in them (BCubed F of average linkage, the mean over the sizes of albums).

Faces are found, aligned and embedded as `experiments.evaluate` does; those that are cut out already are taken with
`--alignment fixed_box`, and `--box` says which part of them the network should see. Such faces are upright, which no
box of a detector makes them: `--turned` turns them back at random. DIR receives `result.json`, the line that is printed
last, with the whole curve, and `environment.json`.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.common import passed_over, pipeline
from experiments.common.coverage import undetected_rows
from experiments.common.results import deliver
from faces import cli
from faces.data.open import open_source
from faces.data.source import FaceSource, Subset, with_images
from faces.errors import DataError
from faces.evaluate.thresholds import AlbumCurve, PairRates, album_curve, pair_rates
from faces.terminal import make_console
from recognizer.cached_embedder import CachedEmbedder
from recognizer.pipeline import seen_in

AT = (0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
"""Cosines whose cost is printed beside the chosen one's."""


def main(arguments: list[str]) -> None:
    """Parse, then choose with a folder for the results."""
    options, console = parse(arguments), make_console()
    pipeline.check_apart(options, options.data)
    deliver(options, console, lambda out: choose(options, console))


def choose(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Draw people, cut, embed, choose, report; what `result.json` says."""
    opened = open_source(options.data)
    passed_over.tell(console, opened.ignored)
    source = drawn(with_images(opened.source, 2), options.people, options.pictures, options.seed)
    model = pipeline.open_for(options, console)
    search = pipeline.open_search(options, model.preprocessing)
    pictures = turned(source, options.turned, options.seed)
    cut = search.cut(pictures, len(source), "the pictures", model.preprocessing, console)
    console.print(seen_in(cut, model.preprocessing, "pictures"))
    lost = undetected_rows(options.data, cut, lambda row: f"picture {row}", "pictures", options)
    kept = np.setdiff1d(np.arange(len(source)), lost)
    embed = CachedEmbedder(model, options.cache)
    embeddings = embed(cut.faces[kept], console)
    people = np.unique(source.identities[kept], return_inverse=True)[1]
    pairs = pair_rates(embeddings, people, options.far, AT)
    albums = album_curve(embeddings, people, options.seed)
    names = len(np.unique(people))
    console.print(f"{len(kept):,} pictures of {names:,} people, drawn by seed {options.seed}")
    _report(pairs, albums, options.far, console)
    return {
        "verification": pairs[0].threshold,
        "clustering": albums.best,
        "far": options.far,
        "pairs": [asdict(one) for one in pairs],
        "albums": {
            "people": list(albums.people),
            "thresholds": list(albums.thresholds),
            "bcubed_precision": np.round(albums.precision, 5).tolist(),
            "bcubed_recall": np.round(albums.recall, 5).tolist(),
            "bcubed_f": np.round(albums.f, 5).tolist(),
        },
        "people": names,
        "pictures": len(kept),
        "seed": options.seed,
        "turned": options.turned,
        "left_out": dict(opened.ignored),
        **pipeline.record(model, embed.images_per_second, options),
    }


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.thresholds", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("data", type=Path, metavar="PEOPLE", help="labelled faces")
    parser.add_argument("--people", type=int, default=600, metavar="N", help="to draw at most (%(default)s)")
    parser.add_argument("--pictures", type=int, default=8, metavar="N", help="of each at most (%(default)s)")
    parser.add_argument("--far", type=float, default=1e-3, help="of pairs of different people (%(default)s)")
    parser.add_argument("--turned", type=float, default=0.0, metavar="DEGREES",
                        help="turn every picture at random, with this standard deviation (%(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the draws (%(default)s)")
    pipeline.add_options(parser)
    options = parser.parse_args(arguments)
    pipeline.check_options(parser, options)
    if options.people < 2 or options.pictures < 2:
        parser.error("--people and --pictures are at least 2")
    if options.turned < 0:
        parser.error("--turned is a standard deviation, 0 or more")
    if not 0 < options.far < 1:
        parser.error("--far is a share, between 0 and 1")
    return options


def drawn(source: FaceSource, people: int, pictures: int, seed: int) -> FaceSource:
    """Some people at random, and of each some pictures at random.

    Raises:
        DataError: there is one person only.
    """
    rng = np.random.default_rng(seed)
    count = int(source.identities.max()) + 1
    if count < 2:
        raise DataError(f"{source.name}: one person with two pictures; a threshold tells several apart.")
    taken = np.sort(rng.permutation(count)[:people])
    rows = [np.sort(rng.permutation(np.flatnonzero(source.identities == who))[:pictures]) for who in taken]
    return Subset(source, np.concatenate(rows))


def turned(source: FaceSource, degrees: float, seed: int) -> Iterator[np.ndarray]:
    """The pictures, each turned about its middle by an angle drawn from a normal distribution; what lies beyond its
    border is its mirror image.

    Args:
        source: the pictures.
        degrees: standard deviation; 0 leaves all as they are.
        seed: of the draws.
    """
    angles = degrees * np.random.default_rng(seed).standard_normal(len(source))
    for row, angle in enumerate(angles.tolist()):
        picture = source[row]
        height, width = picture.shape[:2]
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
        yield cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REFLECT_101) if angle else picture


def _report(pairs: list[PairRates], albums: AlbumCurve, far: float, console: Console) -> None:
    columns = ("cosine", "different people accepted, %", "one person rejected, %")
    table = Table(*columns, title="Two faces", title_justify="left")
    for one in pairs:
        table.add_row(f"{one.threshold:.2f}", f"{100 * one.accepted:.3f}", f"{100 * one.rejected:.2f}")
    console.print(table)
    of_clusters = Table("cosine", *(f"{size} people" for size in albums.people), "mean",
                        title="Albums: BCubed precision, recall, F, %", title_justify="left")  # fmt: skip
    for step, threshold in enumerate(albums.thresholds):
        if round(100 * threshold) % 5 and threshold != albums.best:
            continue
        cells = [
            " ".join(f"{100 * kind[at, step]:.1f}" for kind in (albums.precision, albums.recall, albums.f))
            for at in range(len(albums.people))
        ]
        of_clusters.add_row(f"{threshold:.2f}", *cells, f"{100 * albums.f[:, step].mean():.2f}")
    console.print(of_clusters)
    console.print(
        f"two faces are taken for one person's from cosine {pairs[0].threshold:g} on, at most {far:g} of different "
        f"people's pairs; clusters by average linkage from {albums.best:g} on"
    )


if __name__ == "__main__":
    cli.run(main)
