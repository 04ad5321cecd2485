"""A model on photographs, to the number: `python -m experiments.evaluate --weights MODEL --data lfw=DIR --out DIR`.

Faces are found (`--detector`), one of each photograph is chosen (`--select`), aligned and embedded by what is stored
with the weights, and the pairs of the set are tested by its protocol. MODEL is a folder that `experiments.convert` or a
training run wrote, or a file of published weights. DIR receives

- `result.json`: the line that is printed last, with what was found and how faces were aligned;
- `scores_NAME.npz` for each set: `score`, cosine of each pair in the order of its list, float32, and `same`;
- `roc`, `det`, `distances` and `hardest_pairs`, as figures;
- with `--by` or `--groups` also `factors_NAME.csv` and `factors_NAME.png`: how errors differ with what faces are like.

With `--one-byte` embeddings are rounded to one byte a dimension before they are compared (FaceNet, Sec. 5.4), and the
numbers of those that are not stand beside.

Detections and embeddings are kept in `--cache` by the content of the images: a second run, or one with another
alignment, looks at nothing twice. Several processes, of several hosts, may each embed a share (`--coordinator`).
"""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from experiments.common import by_factor, hosts, passed_over, pipeline, report
from experiments.common.arguments import AppendNamed, named_path
from experiments.common.coverage import refuse_missing, undetected_rows
from experiments.common.hosts import Hosts
from facenet_jax import one_byte
from faces import cli
from faces.aligned import made
from faces.cut_faces import Cut
from faces.data import augment
from faces.evaluate import plots
from faces.evaluate.face_measures import MEASURES
from faces.evaluate.pair_set import PairSet, Photographs, open_photographs, unshrunk
from faces.evaluate.report import error_table, fold_table, result_dict, summary_table
from faces.evaluate.verification import VerificationResult, few_names
from faces.outputs import write_npz
from faces.preprocessing import Preprocessing
from faces.schema import flatten
from recognizer.cached_embedder import CachedEmbedder
from recognizer.model import Model
from recognizer.pipeline import Search, seen_in

FAR = 1e-3


def main(arguments: list[str]) -> None:
    """Parse, then evaluate with a folder for the results."""
    options = parse(arguments)
    pipeline.check_apart(options, *(path for _, path in options.data))
    hosts.divide(
        "evaluate",
        options,
        lambda console: open_all(options, console),
        lambda opened, here, console: embed_share(opened, options, console, here),
        lambda opened, out, console: evaluate(opened, options, out, console),
    )


class Opened(NamedTuple):
    """What is evaluated, and by what."""

    sets: list[Photographs]
    model: Model
    search: Search
    embed: CachedEmbedder

    def told(self) -> dict[str, str]:
        """What several processes must have alike, by what it is called."""
        return {f"list of {photos.name}": hosts.digest(photos.names) for photos in self.sets}


def open_all(options: argparse.Namespace, console: Console) -> Opened:
    """Sets, model, detector and cache; no photograph is looked at."""
    sets = [open_photographs(name, path) for name, path in options.data]
    for photos in sets:
        passed_over.tell(console, photos.passed_over, f"{photos.name}: passed over")
        refuse_missing(photos.name, photos.missing, f"{len(photos.names):,} pictures that its list names", options)
    aligned = all(photos.aligned for photos in sets)
    model = pipeline.open_for(options, console, aligned)
    for photos in sets:
        if photos.cut_as is not None:
            console.print(f"{photos.name}: {made.said(photos.cut_as)}{_other_than(photos.cut_as, model.preprocessing)}")
    search = pipeline.open_search(options, model.preprocessing, aligned)
    return Opened(sets, model, search, CachedEmbedder(model, options.cache))


def embed_share(opened: Opened, options: argparse.Namespace, console: Console, here: Hosts) -> int:
    """Find and embed this process's share of each set, into the cache; how many photographs that was."""
    seen = 0
    for photos in opened.sets:
        rows = here.share(len(photos.names))
        given = (photos.name, opened.model.preprocessing, console, photos.aligned)
        cut = opened.search.cut(photos.read(rows), len(rows), *given, rows)
        faces = lowered(cut.faces, options.pixels, options.jpeg_quality)
        seen += cut.seen
        if (there := faces.any(axis=(1, 2, 3))).any():  # the others are missing, or show no face
            opened.embed(faces[there], console)
    return seen


def evaluate(opened: Opened, options: argparse.Namespace, out: Path, console: Console) -> dict[str, Any]:
    """Cut, embed, evaluate, report; what `result.json` says."""
    sets, model, search, embed = opened
    wanted, network, origin = model.preprocessing, model.description.network, model.description.origin
    cut = {
        photos.name: search.cut(photos.read(), len(photos.names), photos.name, wanted, console, photos.aligned)
        for photos in sets
    }
    seen = {p.name: seen_in(cut[p.name], wanted, aligned=p.aligned) for p in sets}
    quality = {"pixels": options.pixels, "jpeg_quality": options.jpeg_quality}
    tests = [degraded(photos, cut[photos.name], options, **quality) for photos in sets]
    of_images = {test.name: by_factor.of_photographs(options, test, cut[test.name], console) for test in tests}
    after, as_floats = dict[str, VerificationResult](), dict[str, VerificationResult]()
    factors = dict[str, Any]()
    for test in tests:
        embeddings = embed(test.images, console)
        if options.one_byte:
            as_floats[test.name] = test.evaluate(embeddings, FAR, options.allow_missing)
            embeddings = one_byte.from_bytes(one_byte.to_bytes(embeddings))
        _write_scores(out / f"scores_{test.name}.npz", test, embeddings)
        after[test.name] = test.evaluate(embeddings, FAR, options.allow_missing)
        rows = {"": after[test.name]}
        if options.one_byte:
            rows = {"one byte": after[test.name], "float32": as_floats[test.name]}
        _report(console, test, cut[test.name], rows, options.select, seen[test.name], out)
        if asked := of_images[test.name]:
            factors[test.name] = by_factor.report(console, test, after[test.name], asked, options.parts, out)

    result = report.result(tests, after, embed.images_per_second, network.name, origin.file)
    result |= {"preprocessing": flatten(wanted), "detection": {test.name: _counts(test, cut) for test in tests}}
    result |= pipeline.detection_record(options)
    if cut_before := {photos.name: photos.cut_as for photos in sets if photos.cut_as is not None}:
        result["cut_as"] = cut_before
    if options.one_byte:
        result["as_floats"] = {name: result_dict(of_test) for name, of_test in as_floats.items()}
    if factors:
        result["factors"] = factors
    result |= {"left_out": {photos.name: dict(photos.passed_over) for photos in sets}}
    return result | {"jpeg_quality": options.jpeg_quality, "pixels": options.pixels}


def _other_than(cut_as: Mapping[str, Any], preprocessing: Preprocessing) -> str:
    """What must be said of a set that was cut out otherwise than the weights ask for; "" of others."""
    wanted = made.difference(cut_as, preprocessing)
    return f"; the weights take faces by {wanted}, and the number is not theirs" if wanted else ""


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.evaluate", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--data", action=AppendNamed, required=True, metavar="NAME=PATH", type=named_path,
                        help="photographs with pairs: LFW's layout, CFP, CALFW, CPLFW, or a .bin of aligned faces; may "
                        "be repeated, the first is the main one")  # fmt: skip
    pipeline.add_options(parser)
    parser.add_argument("--jpeg-quality", type=int, default=0, metavar="Q", help="compress the faces first, 1 to 100")
    parser.add_argument("--pixels", type=int, default=0, metavar="N", help="shrink the faces to so many pixels first")
    parser.add_argument("--one-byte", action="store_true", help="store embeddings in one byte a dimension first")
    hosts.add_options(parser, "--cache")
    by_factor.add_options(parser, MEASURES)
    options = parser.parse_args(arguments)
    pipeline.check_options(parser, options)
    by_factor.check_options(options)
    if not 0 <= options.jpeg_quality <= 100 or options.pixels < 0:
        parser.error("--jpeg-quality is 1 to 100, and --pixels is positive; 0 leaves either out")
    return options


def degraded(photos: Photographs, cut: Cut, options: argparse.Namespace, pixels: int, jpeg_quality: int) -> PairSet:
    """The set with its faces, lowered as Table 4 of FaceNet asks (0: not); its remark says where that changes nothing.

    Raises:
        EvaluationError: a photograph shows no face, and the command line does not say what becomes of it.
    """
    lost = undetected_rows(photos.name, cut, photos.names.__getitem__, "photographs", options)
    faces = lowered(cut.faces, pixels, jpeg_quality)
    size = (faces.shape[1], faces.shape[2])
    remark = unshrunk([size] * cut.seen, pixels)
    return dataclasses.replace(photos.with_images(faces, remark), undetected=tuple(photos.names[row] for row in lost))


def lowered(faces: np.ndarray, pixels: int, jpeg_quality: int) -> np.ndarray:
    """Faces, uint8 (n, rows, columns, 3), as `degraded` leaves them, one by one."""
    if not (pixels or jpeg_quality) or not len(faces):
        return faces
    worse = (augment.lower_quality(face, pixels, jpeg_quality) for face in faces)
    return np.stack([augment.crop(face, faces.shape[1:3]) for face in worse])


def _write_scores(path: Path, test: PairSet, embeddings: np.ndarray) -> None:
    """Cosines of all pairs, NaN where a face is missing."""
    absent = np.isin(np.array(test.names), np.array((*test.missing, *test.undetected), str))
    score = np.einsum("pd,pd->p", embeddings[test.first], embeddings[test.second]).astype(np.float32)  # (pairs,)
    score[absent[test.first] | absent[test.second]] = np.nan
    write_npz(path, {"score": score, "same": test.same})


def _report(
    console: Console,
    test: PairSet,
    cut: Cut,
    rows: Mapping[str, VerificationResult],
    rule: str,
    seen: str,
    out: Path,
) -> None:
    """Tables and figures of a set: `rows` by label, of which the first is drawn."""
    console.print(f"{test.name}: {cut.seen:,} of {len(test.names):,} photographs are there")
    if cut.looked:
        found = cut.seen - len(cut.undetected)
        seen = f"a face found in {found:,} of {cut.seen:,}, more than one in {cut.several:,} ({rule} taken)"
    console.print(f"  {seen}")
    if cut.undetected:
        console.print(f"  none found in {few_names([test.names[row] for row in cut.undetected])}")
    if test.remark:
        console.print(f"  {test.remark}")
    result = next(iter(rows.values()))
    console.print(summary_table(rows, f"Verification on {test.name}"))
    console.print(fold_table(result, f"{test.name}, fold by fold"))
    console.print(error_table(result, f"{test.name}, all pairs: what a threshold would cost"))
    curves, title = {test.name: result}, f"Verification, {test.name}"
    plots.plot_roc(curves, out / f"roc_{test.name}.png", title)
    plots.plot_det(curves, out / f"det_{test.name}.png", title)
    plots.plot_distances(result, out / f"distances_{test.name}.png", f"Cosines, {test.name}")

    def pictures(row: int) -> tuple[np.ndarray, np.ndarray]:
        return test.images[test.first[row]], test.images[test.second[row]]

    plots.plot_hardest(result, pictures, out / f"hardest_pairs_{test.name}.png", f"Hardest pairs, {test.name}")


def _counts(test: PairSet, cut: dict[str, Cut]) -> dict[str, int | None]:
    """Where faces were not looked for, none are counted."""
    of_test = cut[test.name]
    return {
        "photographs": len(test.names),
        "present": of_test.seen,
        "detected": of_test.seen - len(of_test.undetected) if of_test.looked else None,
        "several": of_test.several if of_test.looked else None,
    }


if __name__ == "__main__":
    cli.run(main)
