"""What a detector is trained and tested on: composed scenes, or WIDER FACE.

Not here: composing a scene (`faces.data.synthetic.scenes`), reading annotations (`faces.data.wider`), training (the
mains).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from experiments.common import passed_over
from faces.data.fingerprint import fingerprint
from faces.data.marks import mark_files
from faces.data.open import open_source
from faces.data.source import FaceSource, Subset
from faces.data.synthetic.crops import generated_crops
from faces.data.synthetic.scenes import SceneConfig, numbered_scene
from faces.data.wider import WiderFaces, open_wider
from faces.detect.detections import Detections
from faces.detect.examples import Example, Examples
from faces.errors import DataError
from faces.evaluate.detection import Curve, precision_recall, wider_curve

GENERATED = (120, 4)  # people, images of each
HELD_OUT = 0.1
"""Part of the people whose faces are in no training scene."""
SMALLEST = 20.0
"""Longer side of the smallest face of a scene in pixels; RetinaFace's smallest anchor has 16, MTCNN's window 20."""


class SceneExamples:
    """Scenes `first` .. `first + scenes - 1` of a set's faces, each composed when it is first asked for, then kept.

    Args:
        faces: aligned crops.
        size: sides of a scene in pixels.
        seed: of the scenes.
        first: number of the first scene.
        scenes: how many.
    """

    def __init__(self, faces: FaceSource, size: int, seed: int, first: int, scenes: int):
        self.name = f"{scenes:,} scenes of {faces.name}"
        self._scene = partial(numbered_scene, faces, (size, size), seed, config=SceneConfig(smallest=SMALLEST))
        self._first, self._made = first, list[Example | None]([None] * scenes)

    def __len__(self) -> int:
        return len(self._made)

    def example(self, index: int) -> Example:
        """See `Examples`."""
        made = self._made[index]
        if made is None:
            scene = self._scene(self._first + index)
            made = Example(scene.image, scene.boxes, scene.points, np.ones(len(scene.boxes), bool))
            self._made[index] = made
        return made


class WiderExamples:
    """The images of a part of WIDER FACE that have a face to learn from."""

    def __init__(self, wider: WiderFaces):
        self.name = str(wider.root)
        self._wider = wider
        self._rows = [row for row, image in enumerate(wider.images) if image.is_usable.any()]

    def __len__(self) -> int:
        return len(self._rows)

    def example(self, index: int) -> Example:
        """See `Examples`."""
        row = self._rows[index]
        image = self._wider.images[row]
        kept = image.is_usable
        return Example(self._wider.load(row), image.boxes[kept], image.points[kept], image.has_points[kept])


@dataclass(frozen=True)
class TestSet:
    """The test images.

    Attributes:
        name: what they are.
        faces: of each image how many there are to be found.
        load: number of an image -> uint8 (height, width, 3).
        curve: what was found in each -> precision over recall.
        files: a digest of all files that it and the training images are made of.
    """

    name: str
    faces: list[int]
    load: Callable[[int], np.ndarray]
    curve: Callable[[Sequence[Detections]], Curve]
    files: str


def scenes(
    path: Path | None, size: int, seed: int, training: int, judging: int, console: Console
) -> tuple[Examples, TestSet]:
    """Scenes to train on, and others, of other people, to test on.

    Args:
        path: aligned faces, of any kind that `open_source` knows; None for generated ones.
        size: sides of a scene in pixels.
        seed: of all that is drawn.
        training: scenes to train on.
        judging: scenes to test on.
        console: where it is printed what was passed over among the faces.
    """
    if path is None:
        faces: FaceSource = generated_crops(*GENERATED, seed)
    else:
        opened = open_source(path)
        passed_over.tell(console, opened.ignored, f"passed over in {path}")
        faces = opened.source
    for_training, held_out = split_people(faces, seed)
    examples = SceneExamples(for_training, size, seed, 0, training)
    evaluation = SceneExamples(held_out, size, seed, training, judging)
    boxes = [evaluation.example(row).boxes for row in range(judging)]
    name = f"{evaluation.name}, of people that training never shows"
    load, curve = (lambda row: evaluation.example(row).image), partial(precision_recall, boxes=boxes)
    return examples, TestSet(name, [len(of_scene) for of_scene in boxes], load, curve, fingerprint(faces).digest)


def photographs(root: Path, labels: Path | None, seed: int, judging: int) -> tuple[Examples, TestSet]:
    """WIDER FACE's training part to train on, and some of its validation part, with all usable faces, to test on.

    Args:
        root: folder with WIDER_train, WIDER_val and wider_face_split.
        labels: folder with RetinaFace's train/label.txt, whose faces have points; None for the official boxes.
        seed: of the choice of test images.
        judging: how many.
    """
    training = open_wider(root, "train", labels and labels / "train" / "label.txt")
    validation = open_wider(root, "val")  # the official boxes, which say what is invalid
    rows = np.random.default_rng(seed).permutation(len(validation))[:judging].tolist()
    evaluation = [validation.images[row] for row in rows]
    counted = [image.is_usable for image in evaluation]

    def curve(found: Sequence[Detections]) -> Curve:
        return wider_curve(found, [image.boxes for image in evaluation], counted)

    name = f"{len(rows):,} images of {validation.root}"
    faces = [int(marks.sum()) for marks in counted]
    files = _digest(training, validation)
    return WiderExamples(training), TestSet(name, faces, lambda row: validation.load(rows[row]), curve, files)


def _digest(*parts: WiderFaces) -> str:
    """Of the images, by `faces.data.marks`, and of what is known of their faces."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(mark_files(str(part.root), [image.path for image in part.images]).astype("<u8").tobytes())
        for image in part.images:
            for known in (image.boxes, image.points, image.has_points, image.attributes):
                hashed.update(known.tobytes())
    return hashed.hexdigest()[:32]


def split_people(faces: FaceSource, seed: int) -> tuple[FaceSource, FaceSource]:
    """A source's people in two parts at random: those to train on, and `HELD_OUT` of them to test on.

    Raises:
        DataError: there is one person only.
    """
    people = int(faces.identities.max()) + 1
    if people < 2:
        raise DataError(f"{faces.name}: one person; at least two are needed, one of them to test on.")
    order = np.random.default_rng(seed).permutation(people)
    held_out = np.isin(faces.identities, order[: max(1, round(HELD_OUT * people))])
    return Subset(faces, np.flatnonzero(~held_out)), Subset(faces, np.flatnonzero(held_out))
