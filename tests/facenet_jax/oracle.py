"""Sec. 3.1 and 3.2 of FaceNet in float64 with plain loops, to test against."""

import numpy as np


def squared_distance(x: np.ndarray, y: np.ndarray) -> float:
    total = 0.0
    for one, other in zip(x.tolist(), y.tolist(), strict=True):
        total += (one - other) ** 2
    return total


def distances(embeddings: np.ndarray) -> np.ndarray:
    embeddings = embeddings.astype(np.float64)
    return np.array([[squared_distance(x, y) for y in embeddings] for x in embeddings])


def semi_hard(embeddings: np.ndarray, identities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    d = distances(embeddings)
    size = len(identities)
    negative, is_pair = np.zeros((size, size), np.int32), np.zeros((size, size), bool)
    for a in range(size):
        negatives = [n for n in range(size) if identities[n] != identities[a]]
        for p in range(size):
            if p == a or identities[p] != identities[a] or not negatives:
                continue
            is_pair[a, p] = True
            best = None
            for n in negatives:
                if d[a, n] > d[a, p] and (best is None or d[a, n] < d[a, best]):
                    best = n
            if best is None:  # none is farther: the farthest, the last of equally far ones
                best = negatives[0]
                for n in negatives:
                    if d[a, n] >= d[a, best]:
                        best = n
            negative[a, p] = best
    return negative, is_pair


def hardest(embeddings: np.ndarray, identities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    d = distances(embeddings)
    negative, is_pair = semi_hard(embeddings, identities)
    for a, p in zip(*np.nonzero(is_pair), strict=True):
        negatives = [n for n in range(len(identities)) if identities[n] != identities[a]]
        negative[a, p] = min(negatives, key=lambda n: (d[a, n], n))
    return negative, is_pair


def mean_triplet_loss(
    embeddings: np.ndarray, negative: np.ndarray, is_pair: np.ndarray, alpha: float
) -> tuple[float, np.ndarray]:
    """Mean of Eq. (3) over the pairs, and its gradient, written out triplet by triplet."""
    x = embeddings.astype(np.float64)
    total, gradient, count = 0.0, np.zeros_like(x), int(is_pair.sum())
    for a, p in zip(*np.nonzero(is_pair), strict=True):
        n = negative[a, p]
        loss = squared_distance(x[a], x[p]) - squared_distance(x[a], x[n]) + alpha
        if loss > 0:
            total += loss
            gradient[a] += 2 * (x[n] - x[p])
            gradient[p] += 2 * (x[p] - x[a])
            gradient[n] += 2 * (x[a] - x[n])
    return total / count, gradient / count
