"""Whose image is this: `python -m experiments.identify --weights MODEL --data LFW --out DIR`.

LFW's photographs as identification, with lists by rule (`faces.evaluate.identification`): everybody's first image is
the gallery, and the others search it (closed set, rank 1); or the gallery holds the people with two images and more,
and those with one are distractors (open set: the detection and identification rate, DIR, where 1% of the distractors
are taken for somebody). Faces are found, aligned and embedded as `experiments.evaluate` does. Any folder of
PERSON/IMAGE serves; `--whole` says how many images it should have. With fewer, or with photographs in which no face
is found, there is no number, unless `--allow-missing` asks for one that is called partial. DIR receives `result.json`,
the line that is printed last, `environment.json`, and `cmc.png` and `dir.png`. Several processes, of several hosts, may
each embed a share (`--coordinator`).
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.common import hosts, passed_over, pipeline
from experiments.common.coverage import undetected_rows
from experiments.common.hosts import Hosts
from faces import cli
from faces.data.image_folder import FolderSource
from faces.data.lfw import image_root
from faces.errors import EvaluationError
from faces.evaluate import rate_plots
from faces.evaluate.identification import IdentificationResult, evaluate_lfw_identification
from faces.evaluate.report import far_text
from recognizer.cached_embedder import CachedEmbedder
from recognizer.model import Model
from recognizer.pipeline import Search, seen_in

LFW_PICTURES = 13_233
FAR = 0.01
RANKS = (1, 5, 10, 20)


def main(arguments: list[str]) -> None:
    """Parse, then search with a folder for the results."""
    options = parse(arguments)
    pipeline.check_apart(options, options.data)
    hosts.divide(
        "identify",
        options,
        lambda console: open_all(options, console),
        embed_share,
        lambda opened, out, console: identify(opened, options, out, console),
    )


class Opened(NamedTuple):
    """Photographs, and what embeds them."""

    source: FolderSource
    model: Model
    search: Search
    embed: CachedEmbedder

    def told(self) -> dict[str, str]:
        """What several processes must have alike, by what it is called."""
        return {"list of photographs": hosts.digest(map(self.source.source_name, range(len(self.source))))}


def open_all(options: argparse.Namespace, console: Console) -> Opened:
    """Photographs, model, detector and cache; nothing is looked at."""
    source = FolderSource(image_root(options.data))
    passed_over.tell(console, source.ignored)
    if len(source) < options.whole and not options.allow_missing:
        raise EvaluationError(
            f"{options.data}: {len(source):,} pictures, the whole set has {options.whole:,}; add the others, say with "
            "--whole how many there are, or --allow-missing to get a number that is called partial."
        )
    has_several = np.bincount(source.identities) > 1
    if has_several.all() or not has_several.any():
        pictures = "several pictures" if has_several.all() else "one picture"
        raise EvaluationError(
            f"{options.data}: everybody has {pictures}; there must be people with several, who are looked for, and "
            "people with one, who are the distractors."
        )
    model = pipeline.open_for(options, console)
    search = pipeline.open_search(options, model.preprocessing)
    return Opened(source, model, search, CachedEmbedder(model, options.cache))


def embed_share(opened: Opened, here: Hosts, console: Console) -> int:
    """Find and embed this process's share, into the cache; how many photographs that was."""
    rows = here.share(len(opened.source))
    photographs = (opened.source[row] for row in rows)
    name, how = "the photographs", opened.model.preprocessing
    faces = opened.search.cut(photographs, len(rows), name, how, console, rows=rows).faces
    if (there := faces.any(axis=(1, 2, 3))).any():  # the others show no face
        opened.embed(faces[there], console)
    return len(rows)


def identify(opened: Opened, options: argparse.Namespace, out: Path, console: Console) -> dict[str, Any]:
    """Cut, embed, search, report; what `result.json` says."""
    source, model, search, embed = opened
    photographs = (source[row] for row in range(len(source)))
    cut = search.cut(photographs, len(source), "the photographs", model.preprocessing, console)
    console.print(seen_in(cut, model.preprocessing))
    lost = undetected_rows(options.data, cut, source.source_name, "photographs", options)
    kept = np.setdiff1d(np.arange(len(source)), lost)
    people = [source.identity_names[identity] for identity in source.identities[kept]]
    fars = (FAR, *np.geomspace(1e-3, 1.0, 61).tolist())
    found = evaluate_lfw_identification(embed(cut.faces[kept], console), people, fars, max(RANKS))

    is_partial = len(source) < options.whole or bool(lost)
    remark = _remark(len(kept), max(options.whole, len(source)), len(set(people)), is_partial)
    console.print(remark)
    console.print(_table(found, "PARTIAL identification" if is_partial else "Identification"))
    _draw(found, out, "Identification" + (", PARTIAL" if is_partial else ""))
    open_set = found.open_set[0]
    return {
        "rank_1": found.rank_1,
        "cmc": found.cmc.tolist(),
        f"dir_at_far_{far_text(FAR)}": open_set.dir,
        "far": open_set.far,
        "threshold": open_set.threshold,
        "closed_set": dict(zip(("gallery", "probes"), found.closed, strict=True)),
        "open_set": dict(zip(("gallery", "probes", "distractors"), found.open, strict=True)),
        "pictures": len(kept),
        "people": len(set(people)),
        "coverage": len(kept) / max(options.whole, len(source)),
        "partial": is_partial,
        "left_out": source.ignored,
        "remark": remark,
        **pipeline.record(model, embed.images_per_second, options),
    }


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.identify", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="LFW, or any folder of PERSON/IMAGE")
    parser.add_argument("--whole", type=int, default=LFW_PICTURES, metavar="N",
                        help="pictures of the whole set (%(default)s, LFW's; 0: those at hand)")  # fmt: skip
    pipeline.add_options(parser)
    hosts.add_options(parser, "--cache")
    options = parser.parse_args(arguments)
    pipeline.check_options(parser, options)
    return options


def _remark(pictures: int, whole: int, people: int, is_partial: bool) -> str:
    """What must stand beside the numbers."""
    kind = "PARTIAL: " if is_partial else ""
    return (
        f"{kind}{pictures:,} of {whole:,} pictures, {people:,} people; gallery and probes by rule, everybody's first "
        "picture at hand against the others"
    )


def _table(found: IdentificationResult, title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for heading in ("gallery", "probes", "distractors"):
        table.add_column(heading, justify="right")
    table.add_column("found")
    gallery, probes = found.closed
    ranks = ", ".join(f"rank {rank} {found.cmc[rank - 1]:.2%}" for rank in RANKS)
    table.add_row("closed set", f"{gallery:,}", f"{probes:,}", "", ranks)
    point = found.open_set[0]
    at = f"DIR {point.dir:.2%} at FAR {point.far_target:.0%} (met {point.far:.2%}), cosine {point.threshold:.4f}"
    table.add_row("open set", *(f"{count:,}" for count in found.open), at)
    return table


def _draw(found: IdentificationResult, out: Path, title: str) -> None:
    rate_plots.plot_ranks({"closed set": found.cmc}, out / "cmc.png", title)
    points = found.open_set[1:]
    curve = np.array([point.far_target for point in points]), np.array([point.dir for point in points])
    labels = ("distractors taken for somebody (FAR)", "probes found (DIR, rank 1)")
    rate_plots.plot_rates({"open set": curve}, out / "dir.png", title, *labels, FAR)


if __name__ == "__main__":
    cli.run(main)
