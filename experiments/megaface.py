"""A model on MegaFace: `python -m experiments.megaface --weights MODEL --data DIR --features DIR --out DIR`.

`--data` holds `facescrub_lst` and `megaface_lst`, images of known people and of distractors, and the images in
`facescrub_images/` and `megaface_images/`. Their features are written to `--features`, a file each as MegaFace's own
tools read them (`faces.data.megaface`), and beside them `ALGORITHM_made_by.txt`; those that are there already, made by
the same weights and options, are not computed again, so an interrupted run goes on, and without `--weights` features of
any origin are evaluated. Each known person's images search a gallery of one other image of that person and all
distractors: rank 1, and verification at a false accept rate of 1e-6 over all pairs with a distractor. Trillion-Pairs
asks the same at `--far 1e-9`, and for identification at the threshold that one probe in 1,000 passes with a distractor,
which is printed as well. `--noises` says what becomes of the images that
`facescrub_noises.txt` and `megaface_noises.txt` name as wrong. `--out` receives `result.json`, the line that is printed
last, `environment.json` and `cmc.png`.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.common import pipeline
from experiments.common.arguments import place
from experiments.common.coverage import PARTIAL, refuse_missing, undetected_rows
from experiments.common.made_by import check_same, made_by
from experiments.common.results import deliver
from faces import cli
from faces.data.images import read_image
from faces.data.lists import read_text
from faces.data.megaface import (
    Part,
    feature_blocks,
    feature_path,
    is_noise,
    people_of,
    read_list,
    read_noises,
    write_feature,
)
from faces.errors import ConfigError, EvaluationError
from faces.evaluate import megaface, rate_plots
from faces.evaluate.report import far_text
from faces.evaluate.verification import few_names
from faces.mesh import make_mesh
from faces.outputs import check_folder, write_text
from faces.terminal import make_console, make_progress
from recognizer.model import embedder_of

PARTS: tuple[Part, Part] = ("facescrub", "megaface")
AT_ONCE = 4096
"""Images cut, embedded and written at a time."""
RANKS = (1, 5, 10)


def main(arguments: list[str]) -> None:
    """Parse, then evaluate with a folder for the results."""
    options, console = parse(arguments), make_console()
    pipeline.check_apart(options, options.data, options.features)
    deliver(options, console, lambda out: evaluate(options, out, console))


def evaluate(options: argparse.Namespace, out: Path, console: Console) -> dict[str, Any]:
    """Compute the features that are not there, search, report; what `result.json` says."""
    listed: dict[Part, list[str]] = {part: read_list(options.data / f"{part}_lst", part) for part in PARTS}
    noisy = {part: _noisy(options, part, listed[part]) for part in PARTS}
    made = _compute(options, listed, console) if options.weights else {}
    there = {part: _with_features(options, part, listed[part]) for part in PARTS}

    names = [listed["facescrub"][row] for row in there["facescrub"]]
    features = np.concatenate(list(feature_blocks(options.features, "facescrub", names, options.algorithm)))
    probes, identity, distractors = megaface.apply_noise_rule(
        options.noises,
        features,
        people_of(names)[0],
        noisy["facescrub"][there["facescrub"]],
        noisy["megaface"][there["megaface"]],
    )
    wanted = [row for row in there["megaface"] if options.noises == "keep" or not noisy["megaface"][row]]
    files = [listed["megaface"][row] for row in wanted]
    with make_progress(console) as bar:
        blocks = feature_blocks(options.features, "megaface", files, options.algorithm)
        tracked = bar.track(blocks, total=-(-len(files) // AT_ONCE), description="distractors")
        scores = megaface.distractor_scores(probes, tracked, distractors, options.far, max(RANKS))
    found = megaface.evaluate_distractors(probes, identity, scores, options.far, options.fpr)

    whole = sum(len(of_part) for of_part in listed.values())
    at_hand = sum(len(of_part) for of_part in there.values())
    remark = (
        f"{'PARTIAL ' if at_hand < whole else ''}MegaFace: {len(probes):,} pictures of {len(np.unique(identity)):,} "
        f"people, {distractors:,} distractors; {at_hand:,} of {whole:,} pictures; wrong pictures: {options.noises}"
    )
    console.print(remark)
    console.print(_table(found, remark.split(":")[0]))
    rate_plots.plot_ranks({f"{distractors:,} distractors": found.cmc}, out / "cmc.png", remark.split(":")[0])
    return {
        "rank_1": found.rank_1,
        "cmc": found.cmc.tolist(),
        f"tar_at_far_{far_text(options.far)}": found.tar,
        "far": found.far,
        "threshold": found.threshold,
        f"tpr_at_fpr_{far_text(options.fpr)}": found.tpr,
        "fpr": found.fpr,
        "trials": found.trials,
        "probes": len(probes),
        "people": len(np.unique(identity)),
        "distractors": distractors,
        "coverage": at_hand / whole,
        "partial": at_hand < whole,
        "remark": remark,
        "noises": options.noises,
        **made,
    }


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.megaface", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="lists and pictures")
    parser.add_argument("--features", type=place, required=True, metavar="DIR", help="read from there, and written to")
    parser.add_argument("--algorithm", default="ours", metavar="NAME",
                        help="what follows a picture's name in its feature file's (%(default)s)")  # fmt: skip
    parser.add_argument("--noises", choices=megaface.NOISE_RULES, default="keep",
                        help="pictures named as wrong: kept, dropped, or InsightFace's rule (%(default)s)")  # fmt: skip
    parser.add_argument("--far", type=float, default=1e-6, help="of verification, over pairs (%(default)s)")
    parser.add_argument("--fpr", type=float, default=1e-3, help="of identification, over probes (%(default)s)")
    pipeline.add_options(parser, needs_model=False)
    options = parser.parse_args(arguments)
    pipeline.check_options(parser, options)
    if not (0 <= options.far <= 1 and 0 <= options.fpr <= 1):
        parser.error("--far and --fpr are rates, 0 to 1")
    if "/" in options.algorithm or "\\" in options.algorithm:
        parser.error("--algorithm is a part of a file's name")
    return options


def _noisy(options: argparse.Namespace, part: Part, names: list[str]) -> np.ndarray:
    """Which images are named as wrong, bool (images,); none where the rule asks for no list."""
    if options.noises == "keep":
        return np.zeros(len(names), bool)
    return is_noise(names, part, read_noises(options.data / f"{part}_noises.txt"))


def _compute(options: argparse.Namespace, listed: dict[Part, list[str]], console: Console) -> dict[str, Any]:
    """Write the features that are not there; what `result.json` says about it."""
    rows = {part: _without_feature(options, part, names) for part, names in listed.items()}
    pictures = {part: options.data / f"{part}_images" for part in PARTS}
    missing = [
        f"{part}/{listed[part][row]}" for part in PARTS for row in rows[part]
        if not (pictures[part] / listed[part][row]).is_file()
    ]  # fmt: skip
    refuse_missing(options.data, missing, "the pictures that the lists name", options)
    check_folder(options.features)
    model = pipeline.open_for(options, console)
    search = pipeline.open_search(options, model.preprocessing)
    there = sum(len(names) - len(rows[part]) for part, names in listed.items())
    _check_origin(options, there, made_by(model, options, of_one_face=True))
    embed = embedder_of(model, make_mesh())
    absent, computed, seconds = set(missing), 0, 0.0
    for part in PARTS:
        names = [listed[part][row] for row in rows[part] if f"{part}/{listed[part][row]}" not in absent]
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            images = (read_image(pictures[part] / name) for name in some)
            label = f"{part}, {start + len(some):,} of {len(names):,}"
            cut = search.cut(images, len(some), label, model.preprocessing, console)
            lost = set(undetected_rows(pictures[part], cut, some.__getitem__, "pictures", options))
            kept = [row for row in range(len(some)) if row not in lost]
            before = time.perf_counter()
            embeddings = embed(cut.faces[kept]) if kept else ()
            seconds += time.perf_counter() - before
            computed += len(kept)
            for row, feature in zip(kept, embeddings, strict=True):
                path = feature_path(options.features, part, some[row], options.algorithm)
                write_feature(path, feature)
    return pipeline.record(model, computed / seconds if computed else None, options)


def _check_origin(options: argparse.Namespace, there: int, here: str) -> None:
    """Features of one name are made by one model: refuse to add to those of another, and record what makes these."""
    record = options.features / f"{options.algorithm}_made_by.txt"
    if not there:
        write_text(record, here + "\n")
    elif record.is_file():
        check_same(record, read_text(record).strip(), here)
    else:
        raise ConfigError(
            f"{options.features}: {there:,} features by {options.algorithm} are there, and {record.name}, which would "
            "say what made them, is not; leave --weights out to evaluate them, or name another --algorithm."
        )


def _without_feature(options: argparse.Namespace, part: Part, names: list[str]) -> list[int]:
    there = set(_rows_with_feature(options, part, names))
    return [row for row in range(len(names)) if row not in there]


def _with_features(options: argparse.Namespace, part: Part, names: list[str]) -> list[int]:
    """Rows of a list whose features are there; the number is refused where some are not and need to be."""
    there = _rows_with_feature(options, part, names)
    if len(there) < len(names) and not (options.allow_missing and there):
        lost = sorted(set(range(len(names))) - set(there))
        raise EvaluationError(
            f"{options.features}: {len(lost):,} of {len(names):,} features of {part} by {options.algorithm} "
            f"are missing ({few_names([names[row] for row in lost])}); name --weights to compute them"
            + (f", or {PARTIAL}." if there else ".")
        )
    return there


def _rows_with_feature(options: argparse.Namespace, part: Part, names: list[str]) -> list[int]:
    paths = (feature_path(options.features, part, name, options.algorithm) for name in names)
    return [row for row, path in enumerate(paths) if path.is_file()]


def _table(found: megaface.DistractorResult, title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("protocol", "at", "%"):
        table.add_column(heading, justify="right" if heading == "%" else "left")
    for rank in RANKS:
        table.add_row("identification", f"rank {rank}", f"{100 * found.cmc[rank - 1]:.2f}")
    at = f"FAR {far_text(found.far_target)}, cosine {found.threshold:.4f}"
    table.add_row("verification, TAR", at, f"{100 * found.tar:.2f}")
    table.add_row("identification, TPR", f"FPR {far_text(found.fpr_target)}", f"{100 * found.tpr:.2f}")
    return table


if __name__ == "__main__":
    cli.run(main)
