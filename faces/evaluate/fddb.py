"""FDDB's two curves: how many faces of ellipses are found, against the number of false detections.

At every score, the detections of an image with at least that score are matched to its faces one to one, so that the
sum of the overlaps is the largest possible. The discrete curve counts matches that overlap by more than a half, the
continuous one adds up the overlaps themselves; both are divided by the number of faces. False are all detections
without a match above a half.

Not here: reading the ellipses (`faces.data.fddb`), precision and recall (`detection.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64
from scipy.optimize import linear_sum_assignment

from faces.detect.detections import Detections
from faces.errors import EvaluationError

_ROUNDING = 1e-12  # of an area on the unit disc; what does not meet shall not overlap


@dataclass(frozen=True)
class FddbCurve:
    """One point for each score that a detection has, from the highest.

    Args:
        threshold: detections of at least this score are taken.
        false_positives: of all images; it can fall where a better match appears.
        discrete: share of faces matched by more than a half.
        continuous: sum of the overlaps over the number of faces.
    """

    threshold: Float64[np.ndarray, " points"]
    false_positives: Int64[np.ndarray, " points"]
    discrete: Float64[np.ndarray, " points"]
    continuous: Float64[np.ndarray, " points"]

    def at(self, false_positives: int) -> tuple[float, float]:
        """The highest discrete and continuous value with at most so many false positives; 0 where there is none."""
        allowed = self.false_positives <= false_positives
        return float(self.discrete[allowed].max(initial=0.0)), float(self.continuous[allowed].max(initial=0.0))


def fddb_curve(found: Sequence[Detections], ellipses: Sequence[np.ndarray]) -> FddbCurve:
    """Both curves over a set of images.

    Unlike the official program, which paints both shapes, overlaps are exact and shapes are not cut at the image's
    border; and the faces of an image without detections count, which there they do not.

    Args:
        found: what was detected in each image.
        ellipses: faces of each image, (faces, 5), as `faces.data.fddb.EllipseImage` has them.

    Raises:
        EvaluationError: as many images of one as of the other are expected; no face; a score or box that is not finite.

    Source: V. Jain and E. Learned-Miller, FDDB: a benchmark for face detection in unconstrained settings, 2010.
    """
    if len(found) != len(ellipses):
        raise EvaluationError(
            f"{len(found):,} images were looked at, but {len(ellipses):,} have annotations; give both for the same "
            "images."
        )
    faces = sum(len(one) for one in ellipses)
    if faces == 0:
        raise EvaluationError("there is no face to find in these images; FDDB's curves need one.")
    steps = [np.zeros((0, 4))]
    for image, (one, of_image) in enumerate(zip(found, ellipses, strict=True)):
        if not (np.isfinite(one.scores).all() and np.isfinite(one.boxes).all()):
            raise EvaluationError(f"image {image}: a score or box is not finite; check the detector's weights.")
        steps.append(_steps(one, of_image))
    table = np.concatenate(steps)  # (scores, 4)
    table = table[np.argsort(-table[:, 0], kind="stable")]
    threshold, last = np.unique(-table[:, 0][::-1], return_index=True)
    totals = np.cumsum(table[:, 1:], axis=0)[len(table) - 1 - last]  # (points, 3)
    matched, overlap, detections = totals.T
    return FddbCurve(-threshold, np.rint(detections - matched).astype(np.int64), matched / faces, overlap / faces)


def ellipse_box_iou(ellipses: Float[np.ndarray, "m 5"], boxes: Float[np.ndarray, "n 4"]) -> Float64[np.ndarray, "n m"]:
    """Intersection over union of boxes and ellipses, exact.

    Seen from the centre of an ellipse, with lengths along its axes divided by their halves, the ellipse is the unit
    disc and the box a parallelogram. Its intersection with the disc is a sum over its sides: each side and the centre
    make a triangle, of which the disc leaves sectors where the side runs outside, and a triangle where inside.

    Args:
        ellipses: half axes, angle in radians from x towards y, centre x and y; in pixels.
        boxes: left, top, right, bottom in pixels.
    """
    major, minor, angle, x, y = ellipses.astype(np.float64).T  # (m,) each
    left, top, right, bottom = boxes.astype(np.float64).T  # (n,) each
    corners = np.stack([np.stack([left, right, right, left], axis=1), np.stack([top, top, bottom, bottom], axis=1)])
    from_centre = corners[:, :, None] - np.stack([x, y])[:, None, :, None]  # (2, n, m, 4)
    cos, sin = np.cos(angle)[None, :, None], np.sin(angle)[None, :, None]
    along = (from_centre[0] * cos + from_centre[1] * sin) / major[None, :, None]  # (n, m, 4)
    across = (from_centre[1] * cos - from_centre[0] * sin) / minor[None, :, None]
    start = along + 1j * across
    side = np.roll(start, -1, axis=2) - start
    # |start + t side| = 1
    length = np.maximum(np.abs(side) ** 2, 1e-200)
    middle = -_dot(start, side) / length
    reach = np.sqrt(np.maximum(middle**2 - (np.abs(start) ** 2 - 1) / length, 0.0))  # 0 where the side passes by
    enter, leave = (start + np.clip(middle + sign * reach, 0.0, 1.0) * side for sign in (-1, 1))
    parts = _sector(start, enter) + _cross(enter, leave) / 2 + _sector(leave, start + side)
    on_disc = parts.sum(axis=2)  # (n, m)
    shared = np.where(on_disc > _ROUNDING, on_disc, 0.0) * (major * minor)[None]
    area = ((right - left) * (bottom - top))[:, None] + (np.pi * major * minor)[None]
    return shared / (area - shared)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.real(np.conj(a) * b)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.imag(np.conj(a) * b)


def _sector(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Area of the unit disc's sector from the direction of `a` to that of `b`, with its sign."""
    return np.arctan2(_cross(a, b), _dot(a, b)) / 2


def _steps(found: Detections, ellipses: np.ndarray) -> np.ndarray:
    """What each distinct score of an image adds: score, matches above a half, overlap, detections; (scores, 4)."""
    order = np.argsort(-found.scores, kind="stable")
    scores = found.scores[order].astype(np.float64)
    overlap = ellipse_box_iou(ellipses, found.boxes[order])  # (n, m)
    ends = np.flatnonzero(np.append(scores[:-1] != scores[1:], len(scores) > 0))
    totals, matches = [(0.0, 0.0, 0.0)], np.zeros(0)
    taken = 0
    for end in ends:
        if overlap[taken : end + 1].any():  # else the matching stays as it is
            matches = overlap[: end + 1][linear_sum_assignment(overlap[: end + 1], maximize=True)]
        taken = int(end) + 1
        totals.append((float(np.sum(matches > 0.5)), float(matches.sum()), float(taken)))
    return np.column_stack([scores[ends], np.diff(np.array(totals), axis=0)])
