"""Photographs to clusters of faces: `python -m experiments.cluster PHOTOGRAPHS... --out DIR`.

The faces of photographs, files and folders with all they contain, are found, aligned and embedded as
`experiments.evaluate` does, every face unless `--select` means one of each photograph, and put into clusters at a
threshold on their cosine (`faces.cluster`), the model's own unless `--threshold` gives another. Faces that are cut out
already are taken whole with `--alignment fixed_box`. DIR receives

- `clusters.csv`: a line for each face: its cluster (0 is the largest), its photograph's path, its box in pixels and the
  detector's score; and one for each photograph without a face, which has only a path;
- `clusters.json`: the faces of each cluster, the largest first, each with photograph and box;
- `sheet.png`: all faces of all clusters; several sheets, `sheet_1.png` on, where they are many;
- `result.json`, the line that is printed last, and `environment.json`.

With `--labelled`, folders name the people in them, and it is counted how far clusters are people; of several faces the
one nearest the middle of its photograph is the person whom the folder names, and the others are not counted. DIR holds
the results of one command, which `--overwrite` replaces together.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.common import pipeline
from experiments.common.cluster_lists import entries, write_table
from experiments.common.contact_sheets import draw_clusters
from experiments.common.labelled import add_labelled, agreement_of
from experiments.common.photographs import counted, embed_photographs
from experiments.common.results import deliver
from experiments.common.threshold import add_threshold, check_threshold, clustering_threshold
from faces import cli
from faces.cluster import LINKAGES, cluster
from faces.outputs import write_json
from faces.terminal import make_console


def main(arguments: list[str]) -> None:
    """Parse, find faces, embed, cluster, write."""
    options = parse(arguments)
    console = make_console()
    pipeline.check_apart(options, *options.photographs)
    deliver(options, console, lambda out: cluster_photographs(options, out, console))


def cluster_photographs(options: argparse.Namespace, out: Path, console: Console) -> dict[str, Any]:
    """Write lists and sheets to `out`; what `result.json` says."""
    model = pipeline.open_for(options, console)
    faces, embeddings, images_per_second = embed_photographs(options.photographs, model, options, console)
    threshold = clustering_threshold(options.threshold, model)
    labels = cluster(embeddings, threshold, options.linkage)
    sizes = np.bincount(labels)
    console.print(
        f"{sizes.size:,} clusters by {options.linkage} linkage at cosine {threshold:g}: the largest has "
        f"{counted(sizes[0], faces.noun)}, {int(np.sum(sizes == 1)):,} have one"
    )
    write_table(out / "clusters.csv", faces, labels, "cluster")
    write_json(out / "clusters.json", entries(faces, labels))
    console.print(draw_clusters(faces.pictures, labels, out, faces.noun))
    result: dict[str, Any] = {
        "clusters": int(sizes.size),
        "sizes": sizes.tolist(),
        **faces.record(),
        "linkage": options.linkage,
        "threshold": threshold,
        **pipeline.record(model, images_per_second, options),
    }
    if options.labelled:
        result["agreement"] = agreement_of(faces, labels, console)
    return result


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.cluster", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("photographs", nargs="+", type=Path, metavar="PHOTOGRAPHS", help="files, and folders to search")
    add_threshold(parser)
    parser.add_argument("--linkage", choices=LINKAGES, default=LINKAGES[0], help="default %(default)s")
    add_labelled(parser)
    pipeline.add_options(parser, of_albums=True, refuses=False)
    options = parser.parse_args(arguments)
    pipeline.check_options(parser, options)
    check_threshold(parser, options)
    return options


if __name__ == "__main__":
    cli.run(main)
