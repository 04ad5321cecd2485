"""`experiments.prepare --detector`: from labelled photographs to a source of aligned faces, and what was left out.

What was looked at is kept beside the set in DIR.unfinished until the set is whole: the same command goes on with it.

Not here: the options (`align_options.py`), what is said and drawn (`align_report.py`), the parts of the work
(`recognizer.aligning`, `faces.aligned`).
"""

import argparse
import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from faces import cli
from faces.aligned.judging import Judged, Labelled, Rules, judge
from faces.aligned.looks import FACES, LINES, Looks
from faces.aligned.made import DECIDES
from faces.continued import SETTINGS, continued, is_made_with
from faces.data.fingerprint import Fingerprint, fingerprint, from_json
from faces.data.images import decode_stored
from faces.data.joined import own_names
from faces.data.lfw import positions, read_pairs
from faces.data.open import Opened
from faces.data.prepared import EncodedSource
from faces.errors import DataError, OutputError
from faces.evaluate.verification import few_names
from faces.mesh import make_mesh
from faces.outputs import check_free, remove_contents, write_json
from faces.preprocessing import Preprocessing
from faces.run_record import read_json
from faces.schema import flatten
from faces.terminal import make_progress
from recognizer.aligning import Embedding, How, look_at_all, of_set
from recognizer.detector_identity import remark
from recognizer.detectors import EDITION, digest, open_detector
from recognizer.manifest import find_detector
from recognizer.model import Model, embedder_of, open_model

UNFINISHED = ".unfinished"
"""Behind the name of the set's folder: the folder of what was looked at so far."""
PHOTOGRAPHS = "photographs.json"
"""In it: the fingerprint of the photographs."""
FILES = (LINES, FACES, PHOTOGRAPHS)
LAYOUT = 1
"""To be raised whenever what is kept there means something else."""


class AlignedFaces:
    """The faces that stay, as an `EncodedSource`.

    Args:
        source: the photographs.
        looks: what was found in them.
        judged: which stay.
    """

    def __init__(self, source: EncodedSource, looks: Looks, judged: Judged):
        self._source, self._looks = source, looks
        self._rows = np.array(sorted(judged.kept), np.int64)
        self._faces = [judged.kept[row] for row in self._rows.tolist()]
        self.name = source.name
        kept, labels = np.unique(source.identities[self._rows], return_inverse=True)
        self.identities = labels.astype(np.int32)  # (images,)
        self.identity_names = [source.identity_names[label] for label in kept]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> np.ndarray:
        return decode_stored(self.encoded(index))

    def encoded(self, index: int) -> bytes:
        """See `EncodedSource`."""
        return self._looks.read(self._faces[index].picture)

    def source_name(self, index: int) -> str:
        """See `EncodedSource`."""
        return self._source.source_name(int(self._rows[index]))

    def marks(self) -> np.ndarray:
        """See `faces.data.source.FaceSource`."""
        return self._source.marks()[self._rows]


@dataclass(frozen=True)
class Aligned:
    """What became of photographs.

    Args:
        opened: the faces that stay, and what lay with the photographs.
        photographs: as they came.
        looks: what was found in them, until the set is whole.
        judged: who stays, and why others do not.
        quarantined: the others, name and reason.
        cut_as: how faces were found and cut out, for what is stored.
    """

    opened: Opened
    photographs: EncodedSource
    looks: Looks
    judged: Judged
    quarantined: list[tuple[str, str]]
    cut_as: dict[str, Any]


def check_places(opened: Opened, args: argparse.Namespace) -> None:
    """Refuse what cannot be looked at, and a place that cannot be written to, before anything is.

    Raises:
        DataError: the images are faces already.
        OutputError: as `check_free`; the set would become a person of its own source.
    """
    if faces := [one.source.name for one in opened.parts or (opened,) if one.aligned]:
        raise DataError(
            f"{faces[0]}: its images are aligned faces already, in which no face is looked for; leave "
            "--detector out, or name photographs."
        )
    for one in opened.parts or (opened,):
        if args.out.resolve().is_relative_to(Path(one.source.name).resolve()):
            raise OutputError(f"{args.out}: lies in {one.source.name}, whose folders are people; name a place outside.")
    check_free(args.out, args.overwrite)


@contextlib.contextmanager
def aligned(opened: Opened, args: argparse.Namespace, console: Console) -> Iterator[Aligned]:
    """Look at all photographs, and decide on each; what was looked at is given up when the block ends well.

    Args:
        opened: the photographs.
        args: as `align_options.check_options` leaves them.
        console: told what the model is; the bar is drawn there.
    Raises:
        DataError: photographs have changed since an earlier part of the work, or those that a list of pairs names give
            no face.
        OutputError: another command does the same, or did it with other options.
    """
    alignment = of_set(args.alignment, args.side, args.margin, args.resized)
    args.detector_weights = args.detector_weights or find_detector(args.detector, args.manifest)
    model = None if args.weights is None else open_model(args.weights, args.network, None, args.manifest)
    if model is not None and model.remark:
        console.print(model.remark)
    weights, network = args.detector_weights, args.detector_network
    detector = open_detector(args.detector, weights, network=network, manifest=args.manifest)
    if said := remark(args.detector, weights, network, args.manifest):
        console.print(said)
    folder = args.out.absolute().with_name(args.out.absolute().name + UNFINISHED)
    made = _made(args, alignment, model)
    photographs = fingerprint(opened.source)
    settings = made | {"layout": LAYOUT, "photographs": photographs.digest}
    with (
        cli.interruptible(f"What was looked at is in {folder}; the same command goes on with the rest."),
        continued(folder, settings, FILES, _begins_anew(folder, settings, photographs, args.overwrite)),
        contextlib.closing(Looks(folder)) as looks,
    ):
        embedding = None if model is None else Embedding(model.preprocessing, embedder_of(model, make_mesh()))
        if len(looks):
            console.print(f"{len(looks):,} of {photographs.images:,} photographs are in {folder} already")
        with make_progress(console) as bar:
            task = bar.add_task("looking for faces", total=photographs.images, completed=len(looks))
            for done in look_at_all(opened.source, looks, How(detector, args.select, alignment, embedding)):
                if not (folder / PHOTOGRAPHS).is_file():
                    write_json(folder / PHOTOGRAPHS, photographs.to_json())
                bar.update(task, completed=done)
        judged, labelled = _judge(opened, looks, args, model is not None)
        _refuse_lost(opened, judged, labelled, args, folder)
        decided = ("undetected", "least_face", "least_detail", *(("near_duplicates", "drop_across") if model else ()))
        yield _aligned(opened, looks, judged, made | {name: getattr(args, name) for name in decided})
        remove_contents(folder)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _made(args: argparse.Namespace, alignment: Preprocessing, model: Model | None) -> dict[str, Any]:
    """How faces are found and cut out, as JSON holds it."""
    made: dict[str, Any] = {"detector": args.detector, "edition": EDITION, "weights": digest(args.detector_weights)}
    made |= {"select": args.select, **{name: flatten(alignment)[name] for name in DECIDES}}
    made["model"] = None if model is None else model.description.origin.sha256
    made["model_preprocessing"] = None if model is None else flatten(model.preprocessing)
    return json.loads(json.dumps(made))


def _begins_anew(folder: Path, settings: Mapping[str, Any], now: Fingerprint, overwrite: bool) -> bool:
    """Whether what lies in the folder is given up.

    Raises:
        DataError: it is of other photographs, and may not be.
    """
    if is_made_with(folder, settings) or not (folder / SETTINGS).is_file():
        return False
    if overwrite:
        return True
    if not (folder / PHOTOGRAPHS).is_file():
        return False
    then = from_json(read_json(folder / PHOTOGRAPHS), str(folder / PHOTOGRAPHS))
    if difference := then.difference(now):
        raise DataError(
            f"{folder}: holds the faces of other photographs, {then.counts()}, and here are {now.counts()}: "
            f"{difference}; put them back to go on, or begin anew with --overwrite."
        )
    return False


def _judge(opened: Opened, looks: Looks, args: argparse.Namespace, has_model: bool) -> tuple[Judged, Labelled]:
    source = opened.source
    is_needed = np.zeros(len(source), bool)
    if not args.hold_out:
        for place in opened.pair_lists:
            pairs = read_pairs(place)
            is_needed[list(positions({*pairs.first, *pairs.second}, source).values())] = True
    labelled = Labelled(source.identities, own_names(source), source.source_name, is_needed)
    middle = args.undetected == "centre_crop"
    rules = Rules(middle, args.least_face, args.least_detail, args.near_duplicates, args.drop_across)
    return judge(looks.looks, labelled, rules, looks.embedding if has_model else None), labelled


def _refuse_lost(
    opened: Opened, judged: Judged, labelled: Labelled, args: argparse.Namespace, folder: Path
) -> None:
    """Refuse a set whose list of pairs would lose some, and one that is none."""
    lost = [one for one in judged.left_out if labelled.is_needed[one.row]]
    if lost and not args.allow_missing:
        names = [f"{labelled.name_of(one.row)}: {one.kind}" for one in lost]
        lists = " or ".join(place.name for place in opened.pair_lists)
        what = f"photograph that {lists} names gives" if len(lost) == 1 else f"photographs that {lists} names give"
        raise DataError(
            f"{opened.source.name}: {len(lost):,} {what} no face ({few_names(names)}), and "
            f"{_lost_pairs(opened, judged)}; look at them, say --undetected centre_crop to take the middle of a "
            "photograph in which no face is found, as FaceNet does, or --allow-missing to leave them out, and "
            f"evaluation will refuse its number or call it partial. What was looked at is in {folder}."
        )
    people = len(np.unique(opened.source.identities[sorted(judged.kept)]))
    if people < 2:
        counts = {kind: sum(one.kind == kind for one in judged.left_out) for kind in {o.kind for o in judged.left_out}}
        why = ", ".join(f"{kind} {count:,}" for kind, count in sorted(counts.items()))
        raise DataError(
            f"{opened.source.name}: usable faces of {people} {'person' if people == 1 else 'people'} ({why}); a "
            f"dataset needs faces of at least two people. What was looked at is in {folder}."
        )


def _lost_pairs(opened: Opened, judged: Judged) -> str:
    """How many pairs of each list lack a face."""
    clauses = []
    for place in opened.pair_lists:
        pairs = read_pairs(place)
        row_of = positions({*pairs.first, *pairs.second}, opened.source)
        gone = {path for path, row in row_of.items() if row not in judged.kept}
        lost = sum(a in gone or b in gone for a, b in zip(pairs.first, pairs.second, strict=True))
        clauses.append(f"{lost:,} of {len(pairs.first):,} pairs of {place.name} need them")
    return ", ".join(clauses)


def _aligned(opened: Opened, looks: Looks, judged: Judged, made: dict[str, Any]) -> Aligned:
    source = opened.source
    faces = AlignedFaces(source, looks, judged)
    quarantined = [(source.source_name(one.row), one.said) for one in judged.left_out]
    return Aligned(dataclasses.replace(opened, source=faces), source, looks, judged, quarantined, made)
