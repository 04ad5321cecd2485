"""What a network for recognition is trained on and evaluated on: faces at a path, or generated ones.

Not here: formats (`faces.data`), in which order images are seen (`sampling.py` of each paper).
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from experiments.common import keep_list, passed_over
from faces.aligned import made
from faces.config import RunConfig
from faces.data.fingerprint import Fingerprint, fingerprint
from faces.data.open import open_source
from faces.data.source import FaceSource, selected
from faces.data.stand_in import StandIns
from faces.data.synthetic.generated import generated_faces
from faces.evaluate.pair_set import PairSet, generated_pair_set, open_pair_set

GENERATED_TRAIN = {"identities": 400, "images_per_identity": 16}
GENERATED_TEST = {"identities": 120, "images_per_identity": 16}


class Selection(NamedTuple):
    """Which faces a config trains on besides what every config says, and by which labels.

    Args:
        min_images: only people with so many images or more; 0: everybody.
        wrong_labels: fraction of the images that get another person's label.
    """

    min_images: int = 0
    wrong_labels: float = 0.0


ALL = Selection()
"""Every face, by its own label."""

@dataclass(frozen=True)
class Faces:
    """What a run trains on and is evaluated on.

    Args:
        source: the training set; where an image cannot be read, another of the same person.
        training_set: its fingerprint.
        tests: the test sets, the main one first.
        cut_as: how the training set's faces were cut out of photographs, where it says so.
    """

    source: StandIns
    training_set: Fingerprint
    tests: list[PairSet]
    cut_as: Mapping[str, Any] | None = None

    @property
    def classes(self) -> int:
        """People of the training set."""
        return int(self.source.identities.max()) + 1


def find_faces(
    options: argparse.Namespace, config: RunConfig, console: Console, selection: Selection = ALL
) -> Faces:
    """The faces of a run that `training_options.parse` has parsed: of them no image is read yet but the tests'."""
    faces, cut_as = _training_faces(options.data, config, console, selection, options.only)
    source = StandIns(faces)
    return Faces(source, fingerprint(source), pair_sets(options, config), cut_as)


def training_faces(
    data: Path | None,
    config: RunConfig,
    console: Console,
    selection: Selection = ALL,
    only: Path | None = None,
) -> FaceSource:
    """The training set of a config: all faces at a path, or generated ones, and of those what is asked for.

    Args:
        data: a prepared dataset, an image folder or a .rec; None for generated faces.
        config: how many faces, and the seed of their choice.
        console: where what was passed over at the path is printed.
        selection: what the paper's config asks for besides.
        only: a list of images that stay, as `experiments.clean` writes it.
    Raises:
        DataError: no such faces, too few, or a list of another set.
    """
    return _training_faces(data, config, console, selection, only)[0]


def _training_faces(
    data: Path | None, config: RunConfig, console: Console, selection: Selection, only: Path | None
) -> tuple[FaceSource, Mapping[str, Any] | None]:
    """The same, and how they were cut out of photographs, where that is known, which is printed too."""
    cut_as = None
    if data is not None:
        opened = open_source(data)
        passed_over.tell(console, opened.ignored, f"passed over in {data}")
        passed_over.tell_alike(console, opened.source.identity_names, "are different people here")
        faces: FaceSource = opened.source
        cut_as = opened.cut_as
        if cut_as is not None:
            console.print(f"faces of {data}: {made.said(cut_as)}")
    else:
        faces = generated_faces(**GENERATED_TRAIN, size=max(config.model.input_size), seed=config.train.seed)
    faces = selected(faces, config.data.images, *selection, config.train.seed)
    return keep_list.apply(only, faces) if only is not None else faces, cut_as


def pair_sets(options: argparse.Namespace, config: RunConfig) -> list[PairSet]:
    """The sets that `options.eval` names, (name, path) each; generated faces where it and `options.data` are empty."""
    if options.eval:
        return [open_pair_set(name, path, config.model.input_size, config.evaluation) for name, path in options.eval]
    return [] if options.data is not None else [generated_pairs(config, config.train.seed)]


def generated_pairs(config: RunConfig, seed: int) -> PairSet:
    """Pairs of people that `training_faces` never generates."""
    people = {**GENERATED_TEST, "first_identity": GENERATED_TRAIN["identities"]}
    return generated_pair_set(**people, size=config.model.input_size, seed=seed, config=config.evaluation)
