"""What a detector finds in one image, and which of several faces is meant.

Not here: the detectors (`mtcnn_jax`, `retinaface_jax`, `scrfd_jax`), cutting faces out (`faces.align`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from faces.errors import ConfigError

Rule = Literal["largest", "most_central", "best", "large_and_central"]
RULES: tuple[Rule, ...] = get_args(Rule)
ALL = "all"
"""In place of a rule: every face is meant."""


@dataclass(frozen=True, eq=False)
class Detections:
    """The faces of one image, best score first; len() is their number n.

    Coordinates are pixels of the image, x to the right, y down, (0, 0) the centre of the top left pixel. A box may
    reach beyond the image.

    Attributes:
        boxes: float32 (n, 4): left, top, right, bottom.
        points: float32 (n, 5, 2), (x, y) of left eye, right eye, nose, left and right corner of the mouth, left and
            right as seen in the image.
        scores: float32 (n,), 0 to 1.
    """

    boxes: np.ndarray
    points: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


Detector = Callable[[Sequence[np.ndarray]], list[Detections]]
"""Images uint8 (height, width, 3), RGB, of any sizes -> the faces of each."""

NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), np.zeros(0, np.float32))
"""Of an image without a face."""


def chosen(detections: Detections, rows: np.ndarray) -> Detections:
    """Some of the faces: bool (n,), or their rows in the order wanted."""
    return Detections(detections.boxes[rows], detections.points[rows], detections.scores[rows])


def select(detections: Detections, rule: Rule, image_size: tuple[int, int]) -> int | None:
    """The one face that an image is meant to show.

    "largest": the largest box. "most_central": the box whose centre is nearest the image's. "best": the highest score.
    "large_and_central": largest of area - 2 d^2 with d the distance of the centres, the rule by which davidsandberg's
    FaceNet chose faces of LFW. The better score decides between equals.

    Args:
        detections: of one image.
        rule: one of the above.
        image_size: height and width of the image in pixels.

    Returns:
        Row of `detections`, or None where nothing was detected.

    Raises:
        ConfigError: for an unknown rule.
    """
    if rule not in RULES:
        raise ConfigError(f'there is no selection rule "{rule}": one of {", ".join(RULES)} is expected')
    if not len(detections):
        return None
    height, width = image_size
    sides = detections.boxes[:, 2:] - detections.boxes[:, :2]  # (n, 2)
    centres = (detections.boxes[:, 2:] + detections.boxes[:, :2]) / 2
    area = sides[:, 0] * sides[:, 1]  # (n,)
    offset = np.square(centres - (np.array([width, height]) - 1) / 2).sum(axis=1)  # (n,)
    merit = {
        "largest": area,
        "most_central": -offset,
        "best": detections.scores,
        "large_and_central": area - 2 * offset,
    }[rule]
    return int(np.argmax(merit))
