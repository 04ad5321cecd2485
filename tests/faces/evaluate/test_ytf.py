"""The rules of YouTube Faces against loops over all pairs of frames; what a partial set may say."""

import numpy as np
import pytest

from faces.data.ytf import VideoPairs
from faces.errors import EvaluationError
from faces.evaluate import ytf


def frames_of(seed: int, lengths: list[int], d: int = 6):
    """Frames of videos in mixed order, each video's own in order, with some where no face was found."""
    rng = np.random.default_rng(seed)
    video = rng.permutation(np.repeat(np.arange(len(lengths)), lengths))
    centres = rng.normal(size=(len(lengths), d))
    embeddings = (centres[video] + 0.8 * rng.normal(size=(video.size, d))).astype(np.float32)
    found = rng.random(video.size) > 0.2
    embeddings[~found] = np.nan
    return embeddings, video, found


def loop_similarity(embeddings, video, found, a, b, limit, rule) -> float:
    """By the definition: all pairs of frames, or the mean embedding of each side."""
    sides = []
    for one in (a, b):
        rows = [row for row in range(len(video)) if video[row] == one and found[row]][:limit]
        sides.append([x / np.linalg.norm(x) for x in embeddings[rows].astype(np.float64)])
    if rule == "mean_similarity":
        return sum(x @ y for x in sides[0] for y in sides[1]) / (len(sides[0]) * len(sides[1]))
    x, y = (sum(side) / len(side) for side in sides)
    return x @ y / (np.linalg.norm(x) * np.linalg.norm(y))


@pytest.mark.parametrize("rule", ytf.RULES)
@pytest.mark.parametrize(("seed", "limit", "at_once"), [(0, 3, 2**16), (1, 100, 4), (2, 5, 7)])
def test_scores_are_the_loops(seed, limit, at_once, rule, monkeypatch):
    monkeypatch.setattr(ytf, "FRAMES_AT_ONCE", at_once)
    embeddings, video, found = frames_of(seed, [9, 4, 12, 6, 7])
    first, second = np.array([0, 1, 2, 0, 4]), np.array([3, 2, 4, 0, 1])
    means, frames = ytf.video_means(embeddings, video, found, 5, limit)
    for one in range(5):
        assert frames[one] == min(limit, (found & (video == one)).sum())
    expected = [
        loop_similarity(embeddings, video, found, a, b, limit, rule) for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(ytf.video_similarities(means, first, second, rule), expected, atol=1e-12)


def test_two_videos_by_hand():
    embeddings = np.array([[2, 0], [0, 3], [5, 0]], np.float32)
    means, frames = ytf.video_means(embeddings, np.array([0, 0, 1]), np.ones(3, bool), 3)
    assert frames.tolist() == [2, 1, 0]
    np.testing.assert_array_equal(means, [[0.5, 0.5], [1, 0], [0, 0]])
    pair = np.array([0]), np.array([1])
    np.testing.assert_allclose(ytf.video_similarities(means, *pair, "mean_similarity"), [0.5])
    np.testing.assert_allclose(ytf.video_similarities(means, *pair, "mean_feature"), [0.5**0.5])
    assert ytf.video_similarities(means, np.array([0]), np.array([2]), "mean_feature") == [0.0]


def listed(folds: int = 3, per_kind: int = 4) -> tuple[VideoPairs, np.ndarray]:
    """Pairs of videos of four people, and a mean embedding for each video."""
    rng = np.random.default_rng(5)
    person = np.repeat(np.arange(4), 5)
    rows = []
    for fold in range(folds):
        for same in (True, False):
            while sum(row[2:] == (same, fold) for row in rows) < per_kind:
                a, b = rng.choice(20, 2, replace=False)
                if (person[a] == person[b]) == same:
                    rows.append((a, b, same, fold))
    first, second, same, fold = map(np.array, zip(*rows, strict=True))
    means = np.eye(4)[person] + 0.1 * rng.normal(size=(20, 4))
    return VideoPairs(tuple(f"P{p}/{v}" for v, p in enumerate(person)), first, second, same, fold), means


def test_a_whole_set():
    pairs, means = listed()
    full = np.full(20, 60)
    result = ytf.evaluate_ytf(means, full, pairs, np.full(20, 60), full)
    assert (result.verification.accuracy, result.verification.coverage) == (1.0, 1.0)
    np.testing.assert_allclose(
        result.verification.distance,
        2 - 2 * ytf.video_similarities(means, pairs.first, pairs.second, "mean_similarity"),
    )
    assert not result.is_partial
    assert result.remark == (
        "YouTube Faces: 24 of 24 pairs, 20 of 20 videos, 1,200 frames, mean_similarity over the first 100"
    )


def test_missing_videos_and_frames_refuse_the_number():
    pairs, means = listed()
    frames, at_hand = np.full(20, 60), np.full(20, 60)
    frames[2] = at_hand[2] = 0
    at_hand[[4, 5]] = frames[[4, 5]] = 3
    expected = np.full(20, 60)
    words = r"20 videos 1 have no frame at all \(P0/2\) and 2 have fewer frames than they should \(P0/4, P1/5\); add"
    with pytest.raises(EvaluationError, match=words):
        ytf.evaluate_ytf(means, frames, pairs, expected, at_hand)
    words = r"1 have frames, but no face was found in any \(P0/2\); say --undetected centre_crop .* or --allow-missing"
    with pytest.raises(EvaluationError, match=words) as raised:
        ytf.evaluate_ytf(means, frames, pairs, np.minimum(expected, 60 * (at_hand > 3) + 3), np.full(20, 60))
    assert "add the frames" not in str(raised.value)
    result = ytf.evaluate_ytf(means, frames, pairs, expected, at_hand, "mean_feature", allow_missing=True)
    assert result.is_partial and result.missing == ("P0/2",) and result.short == ("P0/4", "P1/5")
    uses = ((pairs.first == 2) | (pairs.second == 2)).sum()
    assert uses > 0 and result.verification.pairs == 24 - uses
    assert result.remark == (
        f"PARTIAL YouTube Faces: {24 - uses} of 24 pairs, 19 of 20 videos, 2 of them with fewer frames than they "
        "should have, 1,026 frames, mean_feature over the first 100"
    )


def test_frames_beyond_the_limit_are_not_missed():
    pairs, means = listed()
    at_hand = np.full(20, 10)
    result = ytf.evaluate_ytf(means, at_hand, pairs, np.full(20, 5000), at_hand, frame_limit=10)
    assert result.short == () and not result.is_partial


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_embeddings_without_direction(value):
    embeddings = np.ones((4, 3), np.float32)
    embeddings[2] = value
    found = np.array([False, True, True, True])
    with pytest.raises(EvaluationError, match="1 of 3 frames' embeddings are zero or not finite, the first is row 2"):
        ytf.video_means(embeddings, np.array([1, 1, 0, 0]), found, 2)
