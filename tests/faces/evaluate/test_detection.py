"""Average precision against loops over every threshold, and worked cases by hand."""

import numpy as np
import pytest

from faces.detect.boxes import box_iou
from faces.detect.detections import NOTHING, Detections
from faces.errors import EvaluationError
from faces.evaluate.detection import precision_recall, wider_curve


def detections(boxes, scores) -> Detections:
    scores = np.array(scores, np.float32)
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.zeros((len(scores), 5, 2), np.float32), scores)


def drawn(seed: int, images: int = 9):
    """Faces, detections near and far from them with ties of score, best first, and a subset of the faces."""
    rng = np.random.default_rng(seed)
    found, boxes, counted = [], [], []
    for _ in range(images):
        n = rng.integers(0, 6)
        corner = rng.uniform(0, 60, (n, 2))
        faces = np.concatenate([corner, corner + rng.uniform(6, 30, (n, 2))], axis=1).astype(np.float32)
        near = np.repeat(faces, rng.integers(0, 4, n), axis=0)
        anywhere = rng.uniform([[0, 0, 40, 40]], [[40, 40, 80, 80]], (2, 4))
        guesses = np.concatenate([near + rng.normal(0, 2.5, near.shape), anywhere])
        scores = rng.integers(-8, 60, len(guesses)) / 8
        order = np.argsort(-scores, kind="stable")[: rng.integers(0, len(guesses) + 1)]
        found.append(detections(guesses[order], scores[order]))
        boxes.append(faces)
        counted.append(rng.random(n) < 0.6)
    return found, boxes, counted


def overlap(a, b, pixel: float) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + pixel
    height = min(a[3], b[3]) - max(a[1], b[1]) + pixel
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + pixel) * (box[3] - box[1] + pixel) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def area_under(recall, precision) -> float:
    """VOC's: the envelope from the right, with the points (0, 0) and (1, 0) added."""
    recall, precision = [0.0, *recall, 1.0], [0.0, *precision, 0.0]
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))


def voc_loop(found, boxes, iou) -> float:
    everything = [(float(one.scores[k]), image, k) for image, one in enumerate(found) for k in range(len(one))]
    everything.sort(key=lambda item: -item[0])
    taken, right, recall, precision = set(), 0, [], []
    total = sum(len(faces) for faces in boxes)
    for rank, (_, image, k) in enumerate(everything, start=1):
        box = found[image].boxes[k].astype(float)
        best = max(range(len(boxes[image])), key=lambda j: overlap(box, boxes[image][j].astype(float), 0), default=None)
        if best is not None and overlap(box, boxes[image][best].astype(float), 0) >= iou and (image, best) not in taken:
            taken.add((image, best))
            right += 1
        recall.append(right / total)
        precision.append(right / rank)
    return area_under(recall, precision)


def wider_loop(found, boxes, counted, iou) -> float:
    """The official program, threshold by threshold."""
    scores = [float(score) for one in found for score in one.scores]
    least, greatest = min(scores), max(scores)
    totals = np.zeros((1000, 2))
    for one, faces, marks in zip(found, boxes, counted, strict=True):
        if not len(one) or not len(faces):
            continue
        state, is_proposal, recalled = [0] * len(faces), [], []
        for box in one.boxes.astype(float):
            overlaps = [overlap(face.astype(float), box, 1) for face in faces]
            best = overlaps.index(max(overlaps))
            proposal = True
            if overlaps[best] >= iou:
                if not marks[best]:
                    state[best], proposal = -1, False
                elif state[best] == 0:
                    state[best] = 1
            is_proposal.append(proposal)
            recalled.append(state.count(1))
        normal = [(float(score) - least) / (greatest - least) for score in one.scores]
        for t in range(1, 1001):
            above = [k for k, score in enumerate(normal) if score >= 1 - t / 1000]
            if above:
                totals[t - 1] += sum(is_proposal[: above[-1] + 1]), recalled[above[-1]]
    faces = sum(marks.sum() for marks in counted)
    return area_under(totals[:, 1] / faces, [right / max(proposed, 1) for proposed, right in totals])


@pytest.mark.parametrize("iou", [0.3, 0.5])
@pytest.mark.parametrize("seed", range(6))
def test_against_loops(seed, iou):
    found, boxes, counted = drawn(seed)
    average_precision = precision_recall(found, boxes, iou).average_precision
    assert 0.05 < average_precision < 0.95
    assert average_precision == pytest.approx(voc_loop(found, boxes, iou), abs=1e-12)
    curve = wider_curve(found, boxes, counted, iou)
    assert curve.recall.shape == (1000,) and curve.faces == sum(marks.sum() for marks in counted)
    assert curve.average_precision == pytest.approx(wider_loop(found, boxes, counted, iou), abs=1e-12)


def test_order_within_an_image_does_not_matter():
    found, boxes, counted = drawn(7)
    scores = np.random.default_rng(0).permutation(sum(map(len, found))) / 50  # no ties
    shuffled, at = [], 0
    for i, one in enumerate(found):
        own = scores[at : at + len(one)]
        at += len(one)
        found[i] = detections(one.boxes, own)
        order = np.random.default_rng(i).permutation(len(one))
        shuffled.append(detections(one.boxes[order], own[order]))
    assert precision_recall(found, boxes).average_precision == precision_recall(shuffled, boxes).average_precision
    one, other = (wider_curve(each, boxes, counted) for each in (found, shuffled))
    np.testing.assert_array_equal(one.precision, other.precision)


def test_worked_case():
    """Two faces; right, wrong, the first face again, right: precision 1, 1/2, 1/3, 2/4."""
    faces = np.array([[0, 0, 10, 10], [40, 0, 50, 10]], np.float32)
    one = detections([faces[0], [80, 0, 90, 10], faces[0] + [0, 0, 1, 0], faces[1]], [0.9, 0.8, 0.7, 0.6])
    curve = precision_recall([one, NOTHING], [faces, np.zeros((0, 4))])
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 1 / 3, 1 / 2])
    np.testing.assert_allclose(curve.recall, [0.5, 0.5, 0.5, 1])
    assert curve.average_precision == pytest.approx(0.5 * 1 + 0.5 * 0.5)
    # the second face is outside the subset: its detection is as if it were not there
    easy = wider_curve([one], [faces], [np.array([True, False])])
    assert easy.average_precision == 1.0 and easy.precision[-1] == pytest.approx(1 / 3) and easy.faces == 1
    # a false detection where nothing is annotated counts for VOC, and not in WIDER FACE's program
    ghost = detections([[0, 0, 9, 9]], [1.0])
    both, nobody = [one, ghost], [faces, np.zeros((0, 4))]
    assert precision_recall(both, nobody).average_precision == pytest.approx(0.5 * 0.5 + 0.5 * 0.4)
    assert wider_curve(both, nobody, [np.ones(2, bool), np.zeros(0, bool)]).average_precision == pytest.approx(0.75)


def test_a_pixel_more_on_each_side():
    a, b = np.array([[0.0, 0, 1, 1]]), np.array([[1.0, 0, 2, 1]])
    assert box_iou(a, b)[0, 0] == 0 and box_iou(a, b, pixel=1.0)[0, 0] == pytest.approx(2 / 6)
    assert box_iou(a, np.array([[5.0, 5, 6, 6]]), pixel=1.0)[0, 0] == 0


def test_nothing_found_and_one_score():
    faces = np.array([[0, 0, 10, 10]], np.float32)
    mark = [np.array([True])]
    assert precision_recall([NOTHING], [faces]).average_precision == 0
    assert wider_curve([NOTHING], [faces], mark).average_precision == 0
    assert wider_curve([detections([faces[0]], [0.3])], [faces], mark).average_precision == 1


def test_refusals():
    faces, one = np.array([[0, 0, 10, 10]], np.float32), detections([[0, 0, 10, 10]], [0.5])
    with pytest.raises(EvaluationError, match="1 images were looked at, but 2 have annotations"):
        precision_recall([one], [faces, faces])
    with pytest.raises(EvaluationError, match="no face to find"):
        precision_recall([one], [faces[:0]])
    with pytest.raises(EvaluationError, match="image 1: a score or box is not finite"):
        precision_recall([one, detections([[0, 0, 1, 1]], [np.nan])], [faces, faces])
    with pytest.raises(EvaluationError, match="needs a mark"):
        wider_curve([one], [faces], [np.ones(2, bool)])
    with pytest.raises(EvaluationError, match="the subset has no face"):
        wider_curve([one], [faces], [np.zeros(1, bool)])
