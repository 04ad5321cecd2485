"""Measure how far embeddings and class centres lie apart: `python -m experiments.angles RUN`.

RUN is the folder of a training run, of either paper. Its training faces (`--data`, and `--only` where it had that) and
a test set (`--eval`) are embedded as they are, and the six quantities of ArcFace's Table 3 are printed beside the
paper's. Two histograms are drawn: of the angles of the test set's pairs, and of those between training images and
centres. Writes angles.json and angles.png.

Not here: the quantities (`arcface_jax.angles`).
"""

import argparse
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from arcface_jax import angles
from arcface_jax.config import Config
from experiments.common import results
from experiments.common.arguments import named_path, place
from experiments.common.training_faces import ALL, Selection, pair_sets, training_faces
from faces import cli
from faces.data.fingerprint import fingerprint
from faces.data.source import FaceSource, Subset
from faces.errors import DataError, EvaluationError
from faces.evaluate.pair_set import PairSet
from faces.evaluate.plain_text import plain
from faces.evaluate.plots import BLUE, ORANGE, save_figure, style
from faces.evaluate.verification import few_names
from faces.mesh import make_mesh
from faces.outputs import check_file, results_folder, write_json
from faces.run_record import check_training_set
from faces.terminal import make_console
from recognizer.model import embed_faces, embedder_of, model_of, without_mirror
from recognizer.runs import centres_of, open_run

FILES = ("angles.json", "angles.png")
PAPER_COLUMNS = ("NS", "ArcFace", "IntraL", "InterL", "TripletL")
PAPER_ROWS: dict[str, tuple[str, tuple[float | None, ...]]] = {
    "w_ec": ("W-EC", (44.26, 14.29, 8.83, 46.85, None)),
    "w_inter": ("W-Inter", (69.66, 71.61, 31.34, 75.66, None)),
    "intra1": ("Intra1, training faces", (50.50, 38.45, 17.50, 52.74, 41.19)),
    "inter1": ("Inter1, training faces", (59.23, 65.83, 24.07, 62.40, 50.23)),
    "intra2": ("Intra2, test faces", (33.97, 28.05, 12.94, 35.38, 27.42)),
    "inter2": ("Inter2, test faces", (65.60, 66.55, 26.28, 67.90, 55.94)),
}
"""Table 3 of v3, in degrees: ResNet-50 trained on CASIA, its test faces LFW."""


class Measured(NamedTuple):
    """What one set of images shows.

    Args:
        name: of the set.
        title: what is compared, for the figure.
        table: the quantities of Table 3.
        near, far: labels and values of two kinds of angles, degrees, that should lie apart.
        images, people: how many were measured.
    """

    name: str
    title: str
    table: angles.Table3
    near: tuple[str, np.ndarray]
    far: tuple[str, np.ndarray]
    images: int
    people: int


def main(arguments: list[str]) -> None:
    """Parse, then measure with a place for the results."""
    options = parse(arguments)
    if options.out is None:
        for name in FILES:
            check_file(options.run / name, options.overwrite)
        result = measure(options, options.run)
    else:
        with results_folder(options.out, options.overwrite) as out:
            result = measure(options, out)
    shown = options.out or options.run
    make_console().print(f"wrote {' and '.join(str(shown / name) for name in FILES)}")
    results.print_result(result)


def measure(options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Embed, measure, print and draw; the content of `angles.json`."""
    run, console = open_run(options.run), make_console()
    selection = ALL
    if isinstance(run.config, Config):
        selection = Selection(run.config.data.min_images, run.config.data.wrong_labels)
    source = training_faces(options.data, run.config, console, selection, options.only)
    if remark := check_training_set(options.run, fingerprint(source)):
        console.print(remark)
    has_classes = isinstance(run.config, Config) and run.config.loss.classifier.kind != "none"
    centres = centres_of(run, source) if has_classes else None
    indices = _whole_people(source.identities, options.images, run.config.train.seed)
    tests = [(test, people_of(test, options.allow_missing)) for test in pair_sets(options, run.config)]

    embed = embedder_of(without_mirror(model_of(run, options.run.name)), make_mesh())
    chosen = Subset(source, indices)
    embeddings = embed_faces(embed, chosen, run.config.model.input_size, console)
    if centres is not None:
        of_chosen = centres[np.unique(source.identities[indices])]
        centres = angles.class_directions(of_chosen, embeddings, chosen.identities)
    trained = _of_training(chosen, embeddings, centres, generated=options.data is None)
    tested = next((_of_test(test, embed(test.images), people) for test, people in tests), None)

    result = _result(options.run, run.step, trained, tested)
    console.print(_table(result))
    for kind, measured in (("training", trained), ("test", tested)):
        if measured is not None:
            alone = measured.table.alone
            left_out = f"; {alone:,} of them with one image, left out of Intra" if alone else ""
            counts = f"{measured.images:,} images of {measured.people:,} people{left_out}"
            console.print(f"{kind} faces: {measured.name}: {counts}")
    for test, _ in tests:
        if test.missing:
            console.print(f"missing, left out: {len(test.missing):,} images ({few_names(test.missing)})")
    if centres is None:
        console.print("no figures of W: this run has no class centres")
    write_json(out / FILES[0], result)
    _draw(out / FILES[1], run.step, [trained] if tested is None else [tested, trained])
    return result


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.angles", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("run", type=Path, help="folder of a training run, of either paper")
    parser.add_argument("--data", type=Path, help="what the run trained on; default: its generated faces")
    parser.add_argument("--only", type=Path, metavar="FILE", help="the list of images that the run trained on, if any")
    parser.add_argument("--eval", nargs=1, default=[], metavar="NAME=PATH", type=named_path,
                        help="test set; default: generated faces, with --data none")  # fmt: skip
    parser.add_argument("--images", type=int, metavar="N", help="at most so many training images, of whole people")
    parser.add_argument("--allow-missing", action="store_true", help="measure although test images are missing")
    parser.add_argument("--out", type=place, metavar="DIR", help="folder of the two files (default: RUN)")
    parser.add_argument("--overwrite", action="store_true", help="replace the results that are there")
    return parser.parse_args(arguments)


def _whole_people(identities: np.ndarray, images: int | None, seed: int) -> np.ndarray:
    """Indices of the images of people drawn at random, until `images` are reached; of all without a limit."""
    if images is None:
        return np.arange(len(identities))
    counts = np.bincount(identities)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(counts))
    taken = order[np.cumsum(counts[order]) <= images]
    if len(taken) < 2:
        raise DataError(f"--images {images}: does not hold two people's images; the first two drawn have "
                        f"{counts[order[:2]].sum()}.")  # fmt: skip
    return np.flatnonzero(np.isin(identities, taken))


def people_of(test: PairSet, allow_missing: bool = False) -> np.ndarray:
    """Who is on each image of a test set, by the images' names.

    Args:
        test: a set whose names are `identity N, image M` (generated), `PERSON/FILE` (LFW's layout),
            `.../PERSON/frontal/FILE` (CFP) or `PERSON_NUMBER.jpg` (CALFW, CPLFW).
        allow_missing: go on without the images that are missing.
    Returns:
        A number for each person, 0 to people - 1, int64 (images,); -1 for an image that is missing.
    Raises:
        DataError: the names do not tell, as those of a .bin file, or they contradict the list of pairs.
        EvaluationError: images are missing.
    """
    if test.missing and not allow_missing:
        raise EvaluationError(f"{test.name}: {len(test.missing):,} images are missing ({few_names(test.missing)}); "
                              "measure without them by --allow-missing.")  # fmt: skip
    people = [_person(name) for name in test.names]
    if None in people:
        raise DataError(f"{test.name}: its images have no names that tell who is on them (a .bin file has none); name "
                        "a set in LFW's layout with --eval.")  # fmt: skip
    people = np.array(people)
    wrong = np.flatnonzero((people[test.first] == people[test.second]) != test.same)
    if len(wrong):
        names = [test.names[rows[wrong[0]]] for rows in (test.first, test.second)]
        kind = "one person" if test.same[wrong[0]] else "two people"
        raise DataError(f"{test.name}: {names[0]} and {names[1]} are a pair of {kind} by the list, and not by their "
                        "names; name a set in LFW's layout with --eval.")  # fmt: skip
    is_there = ~np.isin(test.names, test.missing)
    labels = np.full(len(people), -1)
    labels[is_there] = np.unique(people[is_there], return_inverse=True)[1]
    return labels


def _person(name: str) -> str | None:
    *folders, file = name.split("/")
    if folders[-1:] in (["frontal"], ["profile"]):
        folders.pop()
    if folders:
        return "/".join(folders)
    found = re.fullmatch(r"(identity \d+), image \d+|(.+)_\d+\.\w+", file)
    return found and (found[1] or found[2])


def _of_training(
    source: FaceSource, embeddings: np.ndarray, class_centres: np.ndarray | None, generated: bool
) -> Measured:
    """Images against their own centre and the nearest other: class centres where there are any, else embedding ones."""
    labels = source.identities
    kind = "embedding centre" if class_centres is None else "class centre"
    centres = angles.embedding_centres(embeddings, labels) if class_centres is None else class_centres
    return Measured(
        source.name,
        f"{len(source):,} {'generated ' if generated else ''}training images",
        angles.table3(embeddings, labels, class_centres),
        (f"to the own {kind}", angles.own_angle(embeddings, centres, labels)),
        (f"to the nearest other {kind}", angles.nearest_other_angle(embeddings, centres, labels)),
        len(source),
        len(centres),
    )


def _of_test(test: PairSet, embeddings: np.ndarray, people: np.ndarray) -> Measured:
    """Pairs of one person against pairs of two."""
    is_there = people >= 0
    both = is_there[test.first] & is_there[test.second]  # (pairs,)
    angle = angles.own_angle(embeddings[test.first], embeddings, test.second)  # (pairs,)
    return Measured(
        test.name,
        f"{both.sum():,} pairs of {'generated faces' if test.generated else test.name}",
        angles.table3(embeddings[is_there], people[is_there]),
        ("one person", angle[both & test.same]),
        ("two people", angle[both & ~test.same]),
        int(is_there.sum()),
        int(people.max()) + 1,
    )


def _result(folder: Path, step: int, trained: Measured, tested: Measured | None) -> dict[str, Any]:
    """Content of angles.json: Table 3 in degrees, null where there is no such number, and what it was measured on."""

    def of_set(measured: Measured | None, near: str, far: str) -> dict[str, Any] | None:
        if measured is None:
            return None
        return {
            "name": measured.name,
            "images": measured.images,
            "people": measured.people,
            "people_with_one_image": measured.table.alone,
            near: float(measured.near[1].mean()),
            far: float(measured.far[1].mean()),
        }

    return {
        "w_ec": trained.table.w_ec,
        "w_inter": trained.table.w_inter,
        "intra1": trained.table.intra,
        "inter1": trained.table.inter,
        "intra2": tested and tested.table.intra,
        "inter2": tested and tested.table.inter,
        "train": of_set(trained, "own_centre", "nearest_other_centre"),
        "test": of_set(tested, "positive_pairs", "negative_pairs"),
        "run": str(folder),
        "step": step,
    }


def _table(result: dict[str, Any]) -> Table:
    table = Table(
        title=f"Table 3, in degrees: {result['run']} at step {result['step']:,}, beside the paper's columns",
        caption="The paper's columns: ResNet-50 trained on CASIA, 10K people and 0.5M images; test faces of LFW. "
        "Those of another network, set or number of people do not compare: the fewer people, the farther the nearest.",
        title_justify="left",
        caption_justify="left",
        box=box.HORIZONTALS,
        padding=(0, 1, 0, 0),
    )
    for heading in ("", "here", *PAPER_COLUMNS):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for key, (label, theirs) in PAPER_ROWS.items():
        table.add_row(label, *("-" if value is None else f"{value:.2f}" for value in (result[key], *theirs)))
    return table


def _draw(path: Path, step: int, sets: list[Measured]) -> None:
    """For each set, histograms of its two kinds of angles, in bins of one degree."""
    with style():
        figure = Figure(figsize=(5.4 * len(sets), 4.2), layout="constrained")
        figure.suptitle(f"Angles after {step:,} steps", fontsize=12.5, fontweight="bold")
        for axes, measured in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
            kinds = (measured.near, measured.far)
            edges = list(np.arange(np.ceil(max(values.max() for _, values in kinds)) + 1))
            for (label, values), colour in zip(kinds, (BLUE, ORANGE), strict=True):
                mean = values.mean()
                label = f"{label}, mean {mean:.1f}°"
                axes.hist(values, edges, histtype="stepfilled", color=colour, alpha=0.55, edgecolor="none", label=label)
                axes.axvline(mean, color=colour, linewidth=1.2, linestyle="--")
            axes.set(title=plain(measured.title), xlabel="angle in degrees", ylabel="number", xlim=(0, edges[-1]))
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=9)
        save_figure(figure, path)


if __name__ == "__main__":
    cli.run(main)
