"""A model on IJB-B or IJB-C: `python -m experiments.ijb --weights MODEL --data DIR --set ijbc --out DIR`.

DIR holds `meta/`, the text files, and `loose_crop/`, the faces (`faces.data.ijb`). The five points of the text files
place a face in the network's image; with `--detector` faces are found anew instead. A template is made of its media
(`faces.evaluate.ijb`); its faces count by the length of their embedding and by the detector's score, unless
`--face-length unit` and `--score ignore` say otherwise; `--centre faces --score ignore` is the plain centre of
ArcFace's paper, where the default is its authors' code (D03 in DEVIATIONS.md). 1:1 is TAR at six false accept rates
over the list of pairs; 1:N is rank 1, 5, 10 and TPIR at FPIR 0.1 and 0.01, the mean of the two galleries, and rank 1 in
both joined. `--out` receives `result.json`, the line that is printed last, `environment.json`, `roc.png` and `cmc.png`.
Several processes, of several hosts, may each embed a share (`--coordinator`).
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.common import hosts, pipeline
from experiments.common.coverage import refuse_missing, refuse_undetected
from experiments.common.hosts import Hosts
from faces import cli
from faces.data.ijb import GALLERIES, IjbFaces, TemplateList, TemplatePairs, read_galleries, read_ijb_faces, read_probes
from faces.data.ijb import read_template_pairs as read_pairs
from faces.data.images import read_image
from faces.errors import EvaluationError
from faces.evaluate import ijb, rate_plots
from faces.evaluate.report import far_text
from faces.evaluate.verification import few_names
from faces.preprocessing import align
from recognizer.cached_embedder import CachedEmbedder
from recognizer.model import Model
from recognizer.pipeline import Search

IMAGES = "loose_crop"
AT_ONCE = 16_384
"""Faces cut and embedded at a time: 469,375 of IJB-C in memory would be 18 GB."""
CURVE = tuple(np.geomspace(1e-6, 1.0, 61).tolist())
FPIRS = (0.1, 0.01)
RANKS = (1, 5, 10)


def main(arguments: list[str]) -> None:
    """Parse, then evaluate with a folder for the results."""
    options = parse(arguments)
    pipeline.check_apart(options, options.data)
    hosts.divide(
        "ijb",
        options,
        lambda console: open_all(options, console),
        lambda opened, here, console: embed_share(opened, options, console, here),
        lambda opened, out, console: evaluate(opened, options, out, console),
    )


class Opened(NamedTuple):
    """Lists and faces, and what embeds them."""

    faces: IjbFaces
    at_hand: np.ndarray
    pairs: TemplatePairs
    galleries: tuple[TemplateList, TemplateList]
    probes: TemplateList
    model: Model
    search: Search | None
    embed: CachedEmbedder

    def told(self) -> dict[str, str]:
        """What several processes must have alike, by what it is called."""
        return {"list of faces at hand": hosts.digest(self.faces.images[row] for row in np.flatnonzero(self.at_hand))}


def open_all(options: argparse.Namespace, console: Console) -> Opened:
    """Lists, model, detector and cache; no face is looked at."""
    meta, name = options.data / "meta", options.set
    faces, pairs = read_ijb_faces(meta, name), read_pairs(meta, name)
    galleries, probes = read_galleries(meta, name), read_probes(meta, name)
    at_hand = _at_hand(options.data / IMAGES, faces, options)
    model = pipeline.open_for(options, console, has_points=True)
    by_list = options.detector == pipeline.NONE and model.preprocessing.alignment == "five_points"
    search = None if by_list else pipeline.open_search(options, model.preprocessing)
    embed = CachedEmbedder(model, options.cache, unit=options.face_length == "unit")
    return Opened(faces, at_hand, pairs, galleries, probes, model, search, embed)


def embed_share(opened: Opened, options: argparse.Namespace, console: Console, here: Hosts) -> int:
    """Find and embed this process's share, into the cache; how many faces that was."""
    rows = np.flatnonzero(opened.at_hand)
    share = here.share(rows.size)
    for _ in _blocks(opened, options, rows[share.start : share.stop], console):
        pass
    return len(share)


def evaluate(opened: Opened, options: argparse.Namespace, out: Path, console: Console) -> dict[str, Any]:
    """Cut, embed, make templates, evaluate, report; what `result.json` says."""
    faces, _, pairs, galleries, probes, model, _, embed = opened
    embeddings, found = _embed(opened, options, console)
    rows = np.flatnonzero(found)
    score = faces.score[rows] if options.score == "weigh" else None
    numbers, features = ijb.template_features(
        embeddings[rows],
        faces.template[rows],
        faces.media[rows],
        score,
        keep_length=options.face_length == "keep",
        centre=options.centre,
    )
    there = np.isin(pairs.first, numbers) & np.isin(pairs.second, numbers)  # (pairs,)
    listed = (pairs.first[there], pairs.second[there], pairs.same[there])
    verified = ijb.verify_templates(numbers, features, *listed, (*ijb.FARS, *CURVE))
    lists = [_at_least_one_face(numbers, one) for one in (*galleries, probes)]
    identified = ijb.identify_templates(numbers, features, lists[:2], lists[2], FPIRS, max(RANKS))
    first, second = (np.concatenate(column) for column in zip(*lists[:2], strict=True))
    in_joined = ijb.identify_templates(numbers, features, [(first, second)], lists[2], (), max(RANKS))

    is_partial = len(rows) < len(faces.images)
    remark = (
        f"{'PARTIAL ' if is_partial else ''}{options.set.upper()}: {len(rows):,} of {len(faces.images):,} faces, "
        f"{len(numbers):,} of {len(np.unique(faces.template)):,} templates, {int(there.sum()):,} of {there.size:,} "
        "pairs"
    )
    console.print(remark)
    points = verified.points[: len(ijb.FARS)]
    console.print(_table(points, identified, in_joined, remark.split(":")[0]))
    _draw(verified, identified, in_joined, out, remark.split(":")[0])
    return {
        "tar_at_far": {far_text(point.far_target): point.tar for point in points},
        "auc": verified.auc,
        "same_pairs": verified.same_pairs,
        "different_pairs": verified.different_pairs,
        "cmc": identified.cmc.tolist(),
        "tpir_at_fpir": {f"{point.far_target:g}": point.dir for point in identified.open_set},
        "rank_1_joined": float(in_joined.cmc[0]),
        "faces": len(rows),
        "templates": len(numbers),
        "coverage": len(rows) / len(faces.images),
        "partial": is_partial,
        "remark": remark,
        "face_length": options.face_length,
        "score": options.score,
        "centre": options.centre,
        **pipeline.record(model, embed.images_per_second, options),
    }


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.ijb", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help=f"meta and {IMAGES}")
    parser.add_argument("--set", choices=tuple(GALLERIES), required=True)
    parser.add_argument("--face-length", choices=("keep", "unit"), default="keep",
                        help="a face counts by the length of its embedding, or as any other (%(default)s)")  # fmt: skip
    parser.add_argument("--score", choices=("weigh", "ignore"), default="weigh",
                        help="a face counts by the detector's score in the list, or not (%(default)s)")  # fmt: skip
    parser.add_argument("--centre", choices=ijb.CENTRES, default="media",
                        help="a template is the mean of its media, each the mean of its faces, or of all its faces, a "
                        "video counting as often as it has frames (%(default)s)")  # fmt: skip
    pipeline.add_options(parser)
    hosts.add_options(parser, "--cache")
    options = parser.parse_args(arguments)
    pipeline.check_options(parser, options)
    return options


def _at_hand(folder: Path, faces: IjbFaces, options: argparse.Namespace) -> np.ndarray:
    """Which faces' files are there, bool (faces,)."""
    present = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    at_hand = np.array([image in present for image in faces.images], bool)
    missing = sorted({image for image in faces.images if image not in present})
    if not at_hand.any():
        raise EvaluationError(f"{folder}: all faces that the list names are missing ({few_names(missing)}); add them.")
    refuse_missing(folder, missing, "the faces that the list names", options)
    return at_hand


def _embed(opened: Opened, options: argparse.Namespace, console: Console) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings, (faces, d), and whose row is one, bool (faces,)."""
    faces, at_hand = opened.faces, opened.at_hand
    found, parts = np.zeros(len(faces.images), bool), []
    rows = np.flatnonzero(at_hand)
    for kept, embeddings in _blocks(opened, options, rows, console):
        found[kept] = True
        parts.append(embeddings)
    lost = [faces.images[row] for row in np.flatnonzero(at_hand & ~found)]
    if lost and not (options.allow_missing and parts):
        refuse_undetected(options.data / IMAGES, lost, f"{rows.size:,} pictures")
    embedded = np.concatenate(parts)
    embeddings = np.zeros((found.size, embedded.shape[1]), np.float32)  # (faces, d)
    embeddings[found] = embedded
    return embeddings, found


def _blocks(
    opened: Opened, options: argparse.Namespace, rows: np.ndarray, console: Console
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A few thousand faces at a time: those of `rows` in which one is found, (kept,), and embeddings, (kept, d).

    Without a search a face lies where the list's points say.
    """
    faces, model, search = opened.faces, opened.model, opened.search
    for start in range(0, rows.size, AT_ONCE):
        part = rows[start : start + AT_ONCE]
        images = (read_image(options.data / IMAGES / faces.images[row]) for row in part)
        undetected: tuple[int, ...] = ()
        if search is None:
            placed = zip(images, faces.points[part], strict=True)
            pictures = np.stack([align(model.preprocessing, image, None, points) for image, points in placed])
        else:
            label = f"{start + part.size:,} of {rows.size:,}"
            cut = search.cut(images, part.size, label, model.preprocessing, console)
            pictures, undetected = cut.faces, cut.undetected if options.undetected == "refuse" else ()
        kept = np.setdiff1d(np.arange(part.size), undetected)
        if kept.size:
            yield part[kept], opened.embed(pictures[kept], console)


def _at_least_one_face(numbers: np.ndarray, listed: TemplateList) -> tuple[np.ndarray, np.ndarray]:
    """Templates and people of a list, without templates that have no face at hand."""
    there = np.isin(listed.template, numbers)
    if not there.any():
        raise EvaluationError("a list of the 1:N protocol has no template with a face at hand; add its faces.")
    return listed.template[there], listed.person[there]


def _table(
    points: tuple[ijb.VerificationPoint, ...],
    identified: ijb.IjbIdentification,
    joined: ijb.IjbIdentification,
    title: str,
) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("protocol", "at", "%"):
        table.add_column(heading, justify="right" if heading == "%" else "left")
    for point in points:
        table.add_row("1:1, TAR", f"FAR {far_text(point.far_target)}", f"{100 * point.tar:.2f}")
    for rank in RANKS:
        share = identified.cmc[rank - 1]
        table.add_row("1:N, mean of two galleries", f"rank {rank}", f"{100 * share:.2f}")
    for point in identified.open_set:
        table.add_row("1:N, TPIR", f"FPIR {point.far_target:g}", f"{100 * point.dir:.2f}")
    table.add_row("1:N, galleries joined", "rank 1", f"{100 * joined.cmc[0]:.2f}")
    return table


def _draw(
    verified: ijb.IjbVerification,
    identified: ijb.IjbIdentification,
    joined: ijb.IjbIdentification,
    out: Path,
    title: str,
) -> None:
    curve = verified.points[len(ijb.FARS) :]
    rates = np.array([point.far_target for point in curve]), np.array([point.tar for point in curve])
    labels = ("false accept rate (FAR)", "true accept rate (TAR)")
    rate_plots.plot_rates({f"AUC {verified.auc:.4f}": rates}, out / "roc.png", f"{title}, 1:1", *labels, 1e-4)
    ranks = {"mean of two galleries": identified.cmc, "galleries joined": joined.cmc}
    rate_plots.plot_ranks(ranks, out / "cmc.png", f"{title}, 1:N")


if __name__ == "__main__":
    cli.run(main)
