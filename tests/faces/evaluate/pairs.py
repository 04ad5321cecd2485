"""Made-up lists of pairs and slow oracles, written from the definitions with loops over every threshold."""

import math

import numpy as np


def random_pairs(seed: int, same_pairs: int, different_pairs: int, tied: bool) -> tuple[np.ndarray, np.ndarray]:
    """Distances and labels in random order; same pairs are skewed and closer, but far from separated."""
    rng = np.random.default_rng(seed)
    distance = np.concatenate([rng.gamma(1.5, 0.5, same_pairs), rng.normal(1.5, 0.4, different_pairs) ** 2 / 2])
    if tied:
        distance = np.round(distance * 4) / 4
    same = np.arange(same_pairs + different_pairs) < same_pairs
    order = rng.permutation(distance.size)
    return distance[order], same[order]


def rates(distance, same, threshold) -> tuple[float, float, float]:
    """Accuracy, VAL and FAR by counting one pair after the other."""
    true_accepts = false_accepts = same_pairs = different_pairs = 0
    for d, is_same in zip(distance, same, strict=True):
        same_pairs += bool(is_same)
        different_pairs += not is_same
        if d <= threshold:
            true_accepts += bool(is_same)
            false_accepts += not is_same
    correct = true_accepts + different_pairs - false_accepts
    return correct / len(distance), true_accepts / same_pairs, false_accepts / different_pairs


def cuts(distance) -> list[float]:
    """One threshold for each different decision: accept none, then up to each distinct distance."""
    return [-math.inf, *sorted({float(d) for d in distance})]


def best_threshold(distance, same) -> float:
    """Middle of the widest interval [cut, later cut) on which the accuracy is the best there is."""
    points = cuts(distance)
    best = max(rates(distance, same, cut)[0] for cut in points)
    widest, chosen = -math.inf, math.nan
    index = 0
    while index < len(points):
        if rates(distance, same, points[index])[0] < best:
            index += 1
            continue
        end = index
        while end < len(points) and rates(distance, same, points[end])[0] == best:
            end += 1
        low = math.nextafter(points[1], -math.inf) if index == 0 else points[index]
        high = points[end] if end < len(points) else points[-1]
        if high - low > widest:
            middle = (low + high) / 2
            widest, chosen = high - low, middle if low < middle < high else low
        index = end
    return chosen


def val_at_far(distance, same, far) -> tuple[float, float, float]:
    """Threshold, VAL and FAR of the loosest cut within `far`; the threshold is just below the first cut beyond it."""
    allowed = [cut for cut in cuts(distance) if rates(distance, same, cut)[2] <= far]
    beyond = [cut for cut in cuts(distance) if rates(distance, same, cut)[2] > far]
    _, val, met = rates(distance, same, max(allowed))
    return (math.nextafter(min(beyond), -math.inf) if beyond else math.inf), val, met


def auc(distance, same) -> float:
    """Share of (same, different) couples in which the same pair is closer; a tie is half a win."""
    wins = couples = 0.0
    for d_same in distance[same]:
        for d_different in distance[~same]:
            couples += 1
            wins += 1.0 if d_same < d_different else 0.5 if d_same == d_different else 0.0
    return wins / couples


def eer(distance, same) -> float:
    """Bisection for FAR = FRR over rules that accept up to a cut and the next ties with some probability."""
    points = cuts(distance)
    rate = [rates(distance, same, cut)[1:] for cut in points]

    def error_rates(level: float) -> tuple[float, float]:
        below = min(int(level), len(points) - 2)
        part = level - below
        val = (1 - part) * rate[below][0] + part * rate[below + 1][0]
        far = (1 - part) * rate[below][1] + part * rate[below + 1][1]
        return far, 1 - val

    low, high = 0.0, float(len(points) - 1)
    for _ in range(80):
        middle = (low + high) / 2
        far, frr = error_rates(middle)
        low, high = (middle, high) if far < frr else (low, middle)
    return error_rates(high)[0]
