"""Overlaps and suppression equal plain loops, exactly, ties and padding included."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faces.detect.boxes import iou, nms
from tests.retinaface_jax.oracle import overlap, suppress

KINDS = [(over, inclusive) for over in ("union", "min") for inclusive in (False, True)]


def whole_boxes(seed: int, n: int, extent: int = 20) -> np.ndarray:
    """Boxes of whole pixels, some without area, so that float32 arithmetic before the division is exact."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, extent, (n, 2))
    return np.concatenate([corner, corner + rng.integers(0, extent // 2, (n, 2))], axis=1).astype(np.float32)


@pytest.mark.parametrize(("over", "inclusive"), KINDS)
def test_overlaps_equal_loops(over, inclusive):
    a, b = whole_boxes(0, 30), whole_boxes(1, 20)
    expected = [[np.float32(overlap(x, y, over, np.float32(inclusive))) for y in b] for x in a]
    np.testing.assert_array_equal(iou(jnp.array(a), jnp.array(b), over, inclusive), expected)


def test_worked_overlaps():
    a = jnp.array([[0.0, 0.0, 4.0, 4.0]])
    b = jnp.array([[2.0, 0.0, 6.0, 4.0], [1.0, 1.0, 2.0, 2.0], [4.0, 4.0, 9.0, 9.0]])
    np.testing.assert_allclose(iou(a, b), [[8 / 24, 1 / 16, 0]], rtol=1e-6)
    np.testing.assert_allclose(iou(a, b, "min"), [[0.5, 1, 0]], rtol=1e-6)
    np.testing.assert_allclose(iou(a, b, inclusive=True), [[15 / 35, 4 / 25, 1 / 60]], rtol=1e-6)


@pytest.mark.parametrize(("over", "inclusive"), KINDS)
def test_suppression_of_a_batch_equals_loops(over, inclusive):
    images, n = 12, 60
    boxes = np.stack([whole_boxes(seed, n) for seed in range(images)])
    rng = np.random.default_rng(99)
    scores = rng.integers(1, 12, (images, n)).astype(np.float32) / 16  # many ties
    valid = rng.random((images, n)) < np.linspace(0, 1, images)[:, None]  # from nothing to everything
    scores[5, :20], scores[6, :20] = np.nan, -np.inf
    found = jax.jit(jax.vmap(partial(nms, threshold=0.25, over=over, inclusive=inclusive), in_axes=(0, 0)))
    kept = np.asarray(found(jnp.array(boxes), jnp.array(scores), valid=jnp.array(valid)))
    lengths = set()
    for image in range(images):
        rows = np.flatnonzero(valid[image] & (scores[image] > -np.inf))
        expected = rows[suppress(boxes[image, rows], scores[image, rows], 0.25, over, np.float32(inclusive))]
        np.testing.assert_array_equal(kept[image], [*expected, *[-1] * (n - len(expected))])
        lengths.add(len(expected))
    assert 0 in lengths and len(lengths) > 4


def test_overlap_of_exactly_the_threshold_drops_nothing():
    boxes = jnp.array([[0.0, 0.0, 4.0, 4.0], [2.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.0]])  # 0.5 and 0.75 of the first
    kept = nms(boxes, jnp.array([0.9, 0.8, 0.7]), 0.5, jnp.ones(3, bool))
    np.testing.assert_array_equal(kept, [0, 1, -1])


def test_limit_keeps_the_best():
    boxes, scores = jnp.array(whole_boxes(3, 40, 200)), jnp.array(np.random.default_rng(3).random(40), jnp.float32)
    everything = nms(boxes, scores, 0.4, jnp.ones(40, bool))
    np.testing.assert_array_equal(nms(boxes, scores, 0.4, jnp.ones(40, bool), limit=5), everything[:5])
    assert (np.asarray(everything) >= 0).sum() > 5
