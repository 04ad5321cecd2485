"""YouTube Faces: is each pair of videos one person or two (FaceNet, arXiv 1503.03832, Sec. 5.7).

A pair's score is the mean similarity over all pairs of the first 100 frames in which a face was found. Of unit vectors
that mean is one product,

    mean_ij x_i . y_j = (mean_i x_i) . (mean_j y_j),

so a video is kept as the mean of its frames' unit embeddings, whatever its length. The usual alternative, one
embedding a video, scales the same means to length 1: a video whose frames disagree then no longer scores lower.
Splits, thresholds and the standard error are those of LFW (`verification.py`).

Not here: reading videos (`faces.data.ytf`), detection, embedding frames.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64

from faces.data.ytf import VideoPairs
from faces.errors import EvaluationError, option
from faces.evaluate.verification import VerificationResult, evaluate_pairs, few_names
from faces.unit import unit_rows

FRAMES = 100
"""Frames of a video that count, from its beginning (Sec. 5.7; with 1,000 the paper gains 0.06%)."""

Rule = Literal["mean_similarity", "mean_feature"]
"""Score of a pair of videos: mean over pairs of frames (the paper), or similarity of the mean embeddings."""
RULES: tuple[Rule, ...] = get_args(Rule)

FRAMES_AT_ONCE = 2**16
"""Frames whose embeddings are summed at a time."""


@dataclass(frozen=True)
class YtfResult:
    """An evaluation and what it rests on.

    Args:
        verification: the numbers, as on LFW.
        rule, frame_limit: how pairs were scored.
        videos: videos in the list; `missing` have no frame with a face, `short` fewer frames than they should.
        frames: frames used, over all videos.
    """

    verification: VerificationResult
    rule: Rule
    frame_limit: int
    videos: int
    missing: tuple[str, ...]
    short: tuple[str, ...]
    frames: int

    @property
    def is_partial(self) -> bool:
        """Whether pairs, videos or frames of the official set are missing."""
        return bool(self.missing or self.short)

    @property
    def remark(self) -> str:
        """What must stand beside any number of this result."""
        pairs = f"{self.verification.pairs:,} of {self.verification.listed:,} pairs"
        videos = f"{self.videos - len(self.missing):,} of {self.videos:,} videos"
        short = f", {len(self.short):,} of them with fewer frames than they should have" if self.short else ""
        kind = "PARTIAL YouTube Faces" if self.is_partial else "YouTube Faces"
        return (
            f"{kind}: {pairs}, {videos}{short}, {self.frames:,} frames, {self.rule} over the first {self.frame_limit:,}"
        )


def video_means(
    embeddings: Float[np.ndarray, "frames d"],
    video: Int[np.ndarray, " frames"],
    found: Bool[np.ndarray, " frames"],
    videos: int,
    frame_limit: int = FRAMES,
) -> tuple[Float64[np.ndarray, "videos d"], Int64[np.ndarray, " videos"]]:
    """Mean unit embedding of each video's first frames in which a face was found.

    Args:
        embeddings: one row a frame, a video's frames in the order of their numbers; of any length.
        video: position of each frame's video in the list.
        found: whether the detector found a face; other frames' embeddings are not read.
        videos: how many videos the list has.
        frame_limit: frames that count.

    Returns:
        The means, zero for videos without a frame, and how many frames made each.

    Raises:
        EvaluationError: an embedding that counts is not finite or has no direction.
    """
    rows = np.flatnonzero(found)
    rows = rows[np.argsort(video[rows], kind="stable")]
    counts = np.bincount(video[rows], minlength=videos)  # (videos,)
    place = np.arange(rows.size) - np.repeat(np.cumsum(counts) - counts, counts)  # of each frame in its video
    rows = rows[place < frame_limit]
    sums = np.zeros((videos, embeddings.shape[1]))  # (videos, d)
    for start in range(0, rows.size, FRAMES_AT_ONCE):
        part = rows[start : start + FRAMES_AT_ONCE]
        np.add.at(sums, video[part], unit_rows(embeddings[part].astype(np.float64), "frames'", part))
    counts = np.minimum(counts, frame_limit).astype(np.int64)
    return sums / np.maximum(counts, 1)[:, None], counts


def video_similarities(
    means: Float[np.ndarray, "videos d"],
    first: Int[np.ndarray, " pairs"],
    second: Int[np.ndarray, " pairs"],
    rule: Rule,
) -> Float64[np.ndarray, " pairs"]:
    """Score of each pair of videos, in [-1, 1].

    Args:
        means: mean unit embedding of each video's frames.
        first, second: the videos of each pair.
        rule: "mean_similarity", the mean cosine over all pairs of frames, or "mean_feature", the cosine of the means,
            0 where a mean is zero.
    """
    if rule == "mean_feature":
        length = np.linalg.norm(means, axis=1, keepdims=True)  # (videos, 1)
        means = means / np.where(length > 0, length, 1.0)
    return np.einsum("pd,pd->p", means[first].astype(np.float64), means[second])


def lacking_videos(
    frames: Int[np.ndarray, " videos"],
    pairs: VideoPairs,
    expected: Int[np.ndarray, " videos"],
    at_hand: Int[np.ndarray, " videos"],
    frame_limit: int = FRAMES,
    *,
    allow_missing: bool = False,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the videos that are missing, and of those that are short.

    A video without a frame with a face is missing. A video is short where fewer frames are at hand, faces or not, than
    it should have; frames beyond `frame_limit` do not count for that.

    Args:
        frames: frames of each video that count; those at hand where nobody has looked for faces yet.
        pairs, expected, at_hand, frame_limit, allow_missing: as `evaluate_ytf`.

    Raises:
        EvaluationError: videos are missing or short and not allowed to be.
    """
    names, is_empty = np.array(pairs.videos, object), frames == 0
    missing = tuple(names[is_empty])
    faceless = tuple(names[is_empty & (at_hand > 0)])
    absent = tuple(names[is_empty & (at_hand == 0)])
    is_short = (frames > 0) & (at_hand < np.minimum(expected, frame_limit))
    short = tuple(names[is_short])
    if (missing or short) and not allow_missing:
        kinds = (
            ("have no frame at all", absent),
            ("have fewer frames than they should", short),
            ("have frames, but no face was found in any", faceless),
        )
        lacking = [f"{len(whose):,} {what} ({few_names(whose)})" for what, whose in kinds if whose]
        ways = ["add the frames"] if absent or short else []
        ways += ["say --undetected centre_crop to take the middle of frames without a face"] if faceless else []
        raise EvaluationError(
            f"of {len(pairs.videos):,} videos {' and '.join(lacking)}; {', '.join(ways)}, or "
            f"{option('allow-missing')} to get a number that is called partial."
        )
    return missing, short


def evaluate_ytf(
    means: Float[np.ndarray, "videos d"],
    frames: Int[np.ndarray, " videos"],
    pairs: VideoPairs,
    expected: Int[np.ndarray, " videos"],
    at_hand: Int[np.ndarray, " videos"],
    rule: Rule = "mean_similarity",
    frame_limit: int = FRAMES,
    far: float = 1e-3,
    *,
    allow_missing: bool = False,
) -> YtfResult:
    """Run the protocol: each split tested at the threshold that is best on the others.

    Args:
        means, frames: of `video_means`, with the same `frame_limit`.
        pairs: the list.
        expected: frames that each video should have (`Ytf.expected`).
        at_hand: frames of each video that could be read.
        rule: how a pair is scored.
        frame_limit: frames of a video that count.
        far: the false accept rate at which VAL is taken.
        allow_missing: evaluate what is there; the result then says that it is partial.

    Raises:
        EvaluationError: as `lacking_videos` and `verification.evaluate_pairs`.

    Source: FaceNet Sec. 5.7; the ten splits of Wolf, Hassner and Maoz, 2011.
    """
    missing, short = lacking_videos(frames, pairs, expected, at_hand, frame_limit, allow_missing=allow_missing)
    is_complete = (frames[pairs.first] > 0) & (frames[pairs.second] > 0)
    similarity = video_similarities(means, pairs.first, pairs.second, rule)
    verification = evaluate_pairs(
        2 - 2 * similarity,  # mean squared distance of the pairs of frames
        pairs.same,
        pairs.fold,
        far,
        is_complete=is_complete,
        missing=missing,
        allow_missing=allow_missing,
    )
    return YtfResult(verification, rule, frame_limit, len(pairs.videos), missing, short, int(frames.sum()))
