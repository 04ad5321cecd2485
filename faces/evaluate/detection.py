"""How well a detector finds faces: average precision as PASCAL VOC and as WIDER FACE define it.

Detections are taken by falling score and compared with the faces of their image. Precision is the share of detections
that are right, recall the share of faces found; both are functions of the score at which one stops, and average
precision is the area under the envelope of precision over recall.

WIDER FACE has one list of boxes and three subsets of it, easy, medium and hard. A box outside the subset is neither to
be found nor wrong to find. Scores are stretched to 0..1 over the whole set, and the curve is taken at 1,000 of them.

Not here: annotation files and lists of subsets (`faces.data.wider`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from faces.detect.boxes import box_iou
from faces.detect.detections import Detections
from faces.errors import EvaluationError

THRESHOLDS = 1000  # of WIDER FACE's curve


@dataclass(frozen=True)
class Curve:
    """Precision over recall, one point for each score at which the list of detections is cut.

    Args:
        recall: not falling.
        precision: 0 where nothing is detected yet.
        faces: how many there were to find.
    """

    recall: Float64[np.ndarray, " points"]
    precision: Float64[np.ndarray, " points"]
    faces: int

    @property
    def average_precision(self) -> float:
        """Area under the envelope, sum_i (r_i - r_(i-1)) max_(j >= i) p_j, as VOC measures it since 2010."""
        envelope = np.maximum.accumulate(self.precision[::-1])[::-1]
        return float(np.sum(np.diff(self.recall, prepend=0.0) * envelope))


def precision_recall(found: Sequence[Detections], boxes: Sequence[np.ndarray], iou: float = 0.5) -> Curve:
    """VOC's curve: every detection of the set by falling score, right if it is the first on its face.

    A detection's face is the one of its image that it overlaps most. It is right where that overlap is at least `iou`
    and no better detection has had the face; it has no second choice. Of equal scores the earlier image comes first.

    Args:
        found: what was detected in each image.
        boxes: faces of each image, (faces, 4): left, top, right, bottom in pixels.
        iou: smallest intersection over union, areas without a pixel added (unlike VOC's own code, where a box ends in
            the middle of its last pixel).

    Returns:
        One point a detection.

    Raises:
        EvaluationError: as many images of one as of the other are expected; no face; a score that is not finite.
    """
    faces = _check(found, boxes)
    scores = np.concatenate([one.scores for one in found])  # (detections,)
    is_right = np.concatenate([_first_on_face(one, of_image, iou) for one, of_image in zip(found, boxes, strict=True)])
    right = np.cumsum(is_right[np.argsort(-scores, kind="stable")])
    return Curve(right / faces, right / np.arange(1, right.size + 1), faces)


def wider_curve(
    found: Sequence[Detections],
    boxes: Sequence[np.ndarray],
    counted: Sequence[np.ndarray],
    iou: float = 0.5,
) -> Curve:
    """WIDER FACE's curve of one subset.

    Scores become (score - least) / (greatest - least) over all images. In each image, detections by falling score take
    the box that they overlap most, if by at least `iou`: a counted box is found the first time, and the detections of
    it that follow are wrong; a detection of another box is as if it were not there. Point i of the curve cuts every
    list at the score 1 - i / 1000.

    As in the official tool, a box covers one pixel more than right - left, and an image without detections or without
    boxes adds nothing but its counted faces.

    Args:
        found: what was detected in each image.
        boxes: all boxes of each image, (boxes, 4): left, top, right, bottom in pixels.
        counted: which of them belong to the subset, bool (boxes,) of each image.
        iou: smallest intersection over union.

    Returns:
        1,000 points.

    Raises:
        EvaluationError: as `precision_recall`; marks and boxes of an image that differ in number; an empty subset.

    Source: S. Yang et al., WIDER FACE: a face detection benchmark, CVPR 2016, and its evaluation tools.
    """
    _check(found, boxes)
    if len(counted) != len(boxes) or any(len(c) != len(b) for c, b in zip(counted, boxes, strict=True)):
        raise EvaluationError("each box of each image needs a mark whether the subset has it; their numbers differ.")
    faces = int(sum(marks.sum() for marks in counted))
    if faces == 0:
        raise EvaluationError("the subset has no face in these images; give the subset of the same images.")
    scores = np.concatenate([one.scores for one in found]).astype(np.float64)  # (detections,)
    least, spread = (scores.min(), np.ptp(scores)) if scores.size else (0.0, 1.0)
    cuts = 1 - np.arange(1, THRESHOLDS + 1) / THRESHOLDS  # (points,)
    proposed, right = np.zeros(THRESHOLDS, np.int64), np.zeros(THRESHOLDS, np.int64)
    for one, of_image, marks in zip(found, boxes, counted, strict=True):
        if not len(one) or not len(of_image):
            continue
        order = np.argsort(-one.scores, kind="stable")
        # All scores alike carry no order; the official tool would divide by zero.
        normal = (one.scores[order].astype(np.float64) - least) / spread if spread else np.ones(len(one))
        is_proposal, is_right = _outcomes(box_iou(one.boxes[order], of_image, pixel=1.0), marks, iou)
        kept = np.searchsorted(-normal, -cuts, side="right")  # (points,) detections with a score of the cut or more
        proposed += np.append(0, np.cumsum(is_proposal))[kept]
        right += np.append(0, np.cumsum(is_right))[kept]
    precision = np.divide(right, proposed, out=np.zeros(THRESHOLDS), where=proposed > 0)
    return Curve(right / faces, precision, faces)



def _check(found: Sequence[Detections], boxes: Sequence[np.ndarray]) -> int:
    """Number of boxes, after a look at what was given."""
    if len(found) != len(boxes):
        raise EvaluationError(
            f"{len(found):,} images were looked at, but {len(boxes):,} have annotations; give both for the same images."
        )
    for image, one in enumerate(found):
        if not (np.isfinite(one.scores).all() and np.isfinite(one.boxes).all()):
            raise EvaluationError(f"image {image}: a score or box is not finite; check the detector's weights.")
    faces = sum(len(of_image) for of_image in boxes)
    if faces == 0:
        raise EvaluationError("there is no face to find in these images; average precision needs one.")
    return faces


def _first_on_face(found: Detections, boxes: np.ndarray, iou: float) -> Bool[np.ndarray, " n"]:
    """Which detections of an image are right, in the order given; those of a higher score come first."""
    is_right = np.zeros(len(found), bool)
    if len(found) and len(boxes):
        order = np.argsort(-found.scores, kind="stable")
        all_counted = np.ones(len(boxes), bool)
        is_right[order] = _outcomes(box_iou(found.boxes[order], boxes), all_counted, iou)[1]
    return is_right


def _outcomes(
    overlap: Float64[np.ndarray, "n m"], counted: Bool[np.ndarray, " m"], iou: float
) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Of detections, best first: which count at all, and which are the first on a counted box."""
    nearest = overlap.argmax(axis=1)  # (n,)
    on_box = overlap.max(axis=1) >= iou
    is_right = np.zeros(len(overlap), bool)
    hits = np.flatnonzero(on_box & counted[nearest])  # (hits,)
    is_right[hits[np.unique(nearest[hits], return_index=True)[1]]] = True
    return ~on_box | counted[nearest], is_right
