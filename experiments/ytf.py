"""A model on YouTube Faces: `python -m experiments.ytf --weights MODEL --data DIR --out DIR`.

DIR holds `splits.txt` and the frames, `aligned_images_DB/` or `frame_images_DB/`. Faces are found, aligned and embedded
as `experiments.evaluate` does; a pair of videos is scored by FaceNet's rule, the mean similarity over all pairs of the
first 100 frames with a face, and by the similarity of the mean embeddings; `--rule` names the one that counts. Frames
that were cut to the network's face already are taken whole with `--alignment fixed_box`. Where videos or frames are
missing there is no number, unless `--allow-missing` asks for one that is called partial. Several processes, of several
hosts, may each embed a share (`--coordinator`).
"""

import argparse
import dataclasses
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from experiments.common import hosts, pipeline, report
from experiments.common.hosts import Hosts
from faces import cli
from faces.cut_faces import Cut
from faces.data.ytf import FOLDERS, Ytf, read_ytf
from faces.evaluate import plots, ytf
from faces.evaluate.report import fold_table, result_dict, summary_table
from faces.schema import flatten
from recognizer.cached_embedder import CachedEmbedder
from recognizer.model import Model
from recognizer.pipeline import Search, seen_in

AT_ONCE = 16_384
"""Frames cut and embedded at a time: the faces of 340,000 in memory would be 13 GB."""


def main(arguments: list[str]) -> None:
    """Parse, then evaluate with a folder for the results."""
    options = parse(arguments)
    pipeline.check_apart(options, options.data)
    hosts.divide(
        "ytf",
        options,
        lambda console: open_all(options, console),
        embed_share,
        lambda opened, out, console: evaluate(opened, options, out, console),
    )


class Opened(NamedTuple):
    """Videos, their frames, and what embeds them."""

    data: Ytf
    names: list[str]
    video: np.ndarray
    model: Model
    search: Search
    embed: CachedEmbedder

    def told(self) -> dict[str, str]:
        """What several processes must have alike, by what it is called."""
        return {"list of frames": hosts.digest(self.names)}


def open_all(options: argparse.Namespace, console: Console) -> Opened:
    """Videos, model, detector and cache; no frame is looked at."""
    data = read_ytf(options.data, options.images)
    at_hand = _at_hand(data)
    ytf.lacking_videos(
        at_hand, data.pairs, data.expected, at_hand, options.frames, allow_missing=options.allow_missing
    )
    model = pipeline.open_for(options, console)
    search = pipeline.open_search(options, model.preprocessing)
    return Opened(data, *frames_of(data, options.frames), model, search, CachedEmbedder(model, options.cache))


def _at_hand(data: Ytf) -> np.ndarray:
    """Frames of each video, (videos,)."""
    return np.array([len(frames) for frames in data.frames])


def embed_share(opened: Opened, here: Hosts, console: Console) -> int:
    """Find and embed this process's share, into the cache; how many frames that was."""
    share = here.share(len(opened.names))
    if share:
        cut_and_embed(opened, opened.names[share.start : share.stop], console)
    return len(share)


def evaluate(opened: Opened, options: argparse.Namespace, out: Path, console: Console) -> dict[str, Any]:
    """Cut, embed, evaluate by both rules, report; what `result.json` says."""
    data, names, video, model, _, embed = opened
    cut, embeddings = cut_and_embed(opened, names, console)
    found = np.ones(len(names), bool)
    if options.undetected == "refuse":
        found[list(cut.undetected)] = False
    means, counted = ytf.video_means(embeddings, video, found, len(data.pairs.videos), options.frames)
    given = (means, counted, data.pairs, data.expected, _at_hand(data))
    results = {
        rule: ytf.evaluate_ytf(*given, rule, options.frames, allow_missing=options.allow_missing) for rule in ytf.RULES
    }
    main_result = results[options.rule]
    console.print(seen_in(cut, model.preprocessing, "frames"))
    console.print(main_result.remark)
    title = "PARTIAL YouTube Faces" if main_result.is_partial else "YouTube Faces"
    verified = {rule: result.verification for rule, result in results.items()}
    console.print(summary_table(verified, f"Verification on {title}"))
    console.print(fold_table(main_result.verification, f"{title}, {options.rule}, split by split"))
    plots.plot_roc(verified, out / "roc_ytf.png", f"Verification, {title}")
    plots.plot_det(verified, out / "det_ytf.png", f"Verification, {title}")
    return {
        **result_dict(main_result.verification),
        "images_per_second": report.rate(embed.images_per_second),
        "config": model.name,
        "data": {"train": model.description.origin.file, "test": ["ytf"]},
        "rule": options.rule,
        "rules": {rule: result_dict(of_rule) for rule, of_rule in verified.items()},
        "partial": main_result.is_partial,
        "remark": main_result.remark,
        "preprocessing": flatten(model.preprocessing),
        **pipeline.detection_record(options),
    }


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.ytf", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="splits.txt and the frames")
    parser.add_argument("--images", choices=FOLDERS, help="which folder of frames, where both are there")
    parser.add_argument("--rule", choices=ytf.RULES, default=ytf.RULES[0], help="the one that counts (%(default)s)")
    parser.add_argument("--frames", type=int, default=ytf.FRAMES, metavar="N", help="of a video (%(default)s)")
    pipeline.add_options(parser)
    hosts.add_options(parser, "--cache")
    options = parser.parse_args(arguments)
    pipeline.check_options(parser, options)
    if options.frames < 1:
        parser.error(f"--frames {options.frames}: at least 1")
    return options


def cut_and_embed(opened: Opened, names: Sequence[str], console: Console) -> tuple[Cut, np.ndarray]:
    """What was found in these frames, without the faces themselves, and the faces' embeddings, (frames, d)."""
    cuts, parts = list[Cut](), list[np.ndarray]()
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        label = f"frames to {start + len(some):,} of {len(names):,}"
        cut = opened.search.cut(map(opened.data.load, some), len(some), label, opened.model.preprocessing, console)
        parts.append(opened.embed(cut.faces, console))
        undetected = tuple(start + row for row in cut.undetected)
        cuts.append(dataclasses.replace(cut, faces=cut.faces[:0], undetected=undetected))
    together = Cut(
        cuts[0].faces,
        sum(cut.seen for cut in cuts),
        tuple(row for cut in cuts for row in cut.undetected),
        sum(cut.several for cut in cuts),
        cuts[0].looked,
    )
    return together, np.concatenate(parts)


def frames_of(data: Ytf, limit: int) -> tuple[list[str], np.ndarray]:
    """Paths of the frames to look at, and the video of each, int32 (frames,).

    A video's first `limit` frames with a face count, so up to three times as many are looked at.
    """
    chosen = [frames[: 3 * limit] for frames in data.frames]
    video = np.repeat(np.arange(len(chosen), dtype=np.int32), [len(frames) for frames in chosen])
    return list(chain.from_iterable(chosen)), video


if __name__ == "__main__":
    cli.run(main)
