"""FaceNet's relatives in float64 with plain loops, to test against: of embeddings and identities, all their examples.

Each gives the losses of its examples, one by one, those that are zero too.
"""

import math
from typing import Any

import numpy as np


def dot(x: np.ndarray, y: np.ndarray) -> float:
    return sum(one * other for one, other in zip(x.tolist(), y.tolist(), strict=True))


def squared(x: np.ndarray, y: np.ndarray) -> float:
    return sum((one - other) ** 2 for one, other in zip(x.tolist(), y.tolist(), strict=True))


def distance(x: np.ndarray, y: np.ndarray, kind: str = "euclidean") -> float:
    return squared(x, y) if kind == "squared" else math.sqrt(squared(x, y))


def slack(lacks: float, kind: str) -> float:
    return max(0.0, lacks) if kind == "hinge" else math.log1p(math.exp(lacks))


def positives(ids: np.ndarray, a: int) -> list[int]:
    return [i for i in range(len(ids)) if i != a and ids[i] == ids[a]]


def negatives(ids: np.ndarray, a: int) -> list[int]:
    return [i for i in range(len(ids)) if ids[i] != ids[a]]


def _pair(d: float, same: bool, margin: float) -> float:
    return 0.5 * d * d if same else 0.5 * max(0.0, margin - d) ** 2


def contrastive(x: np.ndarray, ids: np.ndarray, config: Any, **_: Any) -> list[float]:
    return [
        _pair(distance(x[i], x[j]), ids[i] == ids[j], config.margin)
        for i in range(len(ids))
        for j in range(len(ids))
        if i != j
    ]


def deepid2(x: np.ndarray, ids: np.ndarray, config: Any, learned: np.ndarray, **_: Any) -> list[float]:
    found = []
    for i in range(len(ids)):
        logits = [dot(row, x[i]) for row in learned]
        loss = math.log(sum(math.exp(logit) for logit in logits)) - logits[ids[i]]
        for others, same in ((positives(ids, i), True), (negatives(ids, i), False)):
            if others:
                verification = sum(_pair(distance(x[i], x[j]), same, config.margin) for j in others)
                loss += config.verification_weight * verification / len(others)
        found.append(loss)
    return found


def triplet_variant(x: np.ndarray, ids: np.ndarray, config: Any, **_: Any) -> list[float]:
    found = []
    for a in range(len(ids)):
        strangers = negatives(ids, a)
        for p in positives(ids, a) if strangers else []:
            d_ap = squared(x[a], x[p])
            farther = [n for n in strangers if squared(x[a], x[n]) > d_ap]
            by_distance = sorted(farther or strangers, key=lambda n, a=a: squared(x[a], x[n]))
            n = by_distance[0] if farther else by_distance[-1]
            lacks = distance(x[a], x[p], config.distance) - distance(x[a], x[n], config.distance) + config.alpha
            found.append(slack(lacks, config.slack))
    return found


def batch_hard(x: np.ndarray, ids: np.ndarray, config: Any, **_: Any) -> list[float]:
    found = []
    for a in range(len(ids)):
        if positives(ids, a) and negatives(ids, a):
            d_ap = max(distance(x[a], x[p], config.distance) for p in positives(ids, a))
            d_an = min(distance(x[a], x[n], config.distance) for n in negatives(ids, a))
            found.append(slack(d_ap - d_an + config.alpha, config.slack))
    return found


def batch_all(x: np.ndarray, ids: np.ndarray, config: Any, **_: Any) -> list[float]:
    return [
        max(0.0, distance(x[a], x[p], config.distance) - distance(x[a], x[n], config.distance) + config.alpha)
        for a in range(len(ids))
        for p in positives(ids, a)
        for n in negatives(ids, a)
    ]


def margin_loss(
    x: np.ndarray, ids: np.ndarray, config: Any, learned: np.ndarray, drawn: np.ndarray, **_: Any
) -> list[float]:
    """`drawn`: the negative of each pair, -1 for none, which is a matter of chance."""
    found = []
    for a in range(len(ids)):
        beta = learned[ids[a] if config.beta_of == "person" else 0]
        for p in positives(ids, a):
            found.append(max(0.0, config.alpha + distance(x[a], x[p]) - beta))
            if drawn[a, p] >= 0:
                found.append(max(0.0, config.alpha - distance(x[a], x[drawn[a, p]]) + beta))
    return found


def coupled_clusters(x: np.ndarray, ids: np.ndarray, config: Any, **_: Any) -> list[float]:
    found = []
    for i in range(len(ids)):
        if positives(ids, i) and negatives(ids, i):
            c = np.mean([x[j] for j in [i, *positives(ids, i)]], axis=0)
            nearest = min(squared(x[n], c) for n in negatives(ids, i))
            found.append(0.5 * max(0.0, squared(x[i], c) + config.alpha - nearest))
    return found


def lifted_structure(x: np.ndarray, ids: np.ndarray, config: Any, **_: Any) -> list[float]:
    found = []
    for i in range(len(ids)):
        for j in positives(ids, i) if negatives(ids, i) else []:
            of_i = sum(math.exp(config.alpha - distance(x[i], x[k])) for k in negatives(ids, i))
            of_j = sum(math.exp(config.alpha - distance(x[j], x[k])) for k in negatives(ids, j))
            found.append(0.5 * max(0.0, math.log(of_i + of_j) + distance(x[i], x[j])) ** 2)
    return found


def n_pair(x: np.ndarray, ids: np.ndarray, config: Any, **_: Any) -> list[float]:
    found = []
    for a in range(len(ids)):
        for p in positives(ids, a) if negatives(ids, a) else []:
            total = 1.0
            for other in sorted(set(ids.tolist()) - {ids[a]}):
                images = [n for n in range(len(ids)) if ids[n] == other]
                exps = [math.exp(config.scale * (dot(x[a], x[n]) - dot(x[a], x[p]))) for n in images]
                total += sum(exps) / len(images)
            found.append(math.log(total))
    return found


def circle(x: np.ndarray, ids: np.ndarray, config: Any, fixed: np.ndarray, **_: Any) -> list[float]:
    """`fixed`: the embeddings of which the weights are made, which have no gradient."""
    m, gamma, found = config.m, config.gamma, []
    for a in range(len(ids)):
        if positives(ids, a) and negatives(ids, a):
            of_n = of_p = 0.0
            for n in negatives(ids, a):
                of_n += math.exp(gamma * max(0.0, dot(fixed[a], fixed[n]) + m) * (dot(x[a], x[n]) - m))
            for p in positives(ids, a):
                of_p += math.exp(-gamma * max(0.0, 1 + m - dot(fixed[a], fixed[p])) * (dot(x[a], x[p]) - (1 - m)))
            found.append(math.log(1 + of_n * of_p))
    return found


def loss(x: np.ndarray, ids: np.ndarray, config: Any, **more: Any) -> tuple[float, int, int]:
    """The config's number of a batch; how many examples there are, and how many above zero."""
    values = globals()[config.kind](x, ids, config, **more)
    active = sum(value > 0 for value in values)
    divisor = {"sum": 1, "mean": max(len(values), 1), "mean_of_active": max(active, 1)}[config.reduction]
    return sum(values) / divisor, len(values), active


def gradient(x: np.ndarray, ids: np.ndarray, config: Any, **more: Any) -> np.ndarray:
    """By central differences."""
    found, step = np.zeros_like(x), 1e-6
    for index in np.ndindex(*x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[index] += sign * step
            ends.append(loss(moved, ids, config, **more)[0])
        found[index] = (ends[0] - ends[1]) / (2 * step)
    return found
