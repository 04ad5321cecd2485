"""Classifiers of `arcface_jax/related/` in float64, one image and one class after another, by their equations."""

import math
from typing import Any

import numpy as np


def length(v: np.ndarray) -> float:
    return math.sqrt(sum(float(x) * float(x) for x in v))


def cosine(x: np.ndarray, w: np.ndarray) -> float:
    both = length(x) * length(w)
    return float(sum(a * b for a, b in zip(x, w, strict=True))) / both if both else 0.0


def psi(theta: float, m: int) -> float:
    k = min(int(theta * m / math.pi), m - 1)
    return (-1) ** k * math.cos(m * theta) - 2 * k


def cross_entropy(logits: list[float], y: int) -> float:
    top = max(logits)
    return top + math.log(sum(math.exp(logit - top) for logit in logits)) - logits[y]


def logits_of(kind: str, x: np.ndarray, w: np.ndarray, y: int, values: dict[str, Any]) -> list[float]:
    """Logits of one image with every class.

    Args:
        kind: as `loss.classifier.kind`.
        x: (d,); w: (C, d), or (C, d + 1) of "center_loss"; y: its class.
        values: of the config, and what the whole batch decides: "t", "z" of this image, "margin" of this image.
    """
    if kind == "center_loss":
        return [float(row[:-1] @ x + row[-1]) for row in w]
    cosines = [cosine(x, row) for row in w]
    theta, m, s = math.acos(cosines[y]), values.get("m", 0.0), values.get("s", 1.0)
    arc, others = math.cos(theta + m), lambda c: c
    match kind:
        case "l_softmax":
            lam = values["lam"]
            mixed = (lam * math.cos(theta) + psi(theta, m)) / (1 + lam)
            target, scales = mixed, [length(row) * length(x) for row in w]
            return [scale * (target if j == y else c) for j, (scale, c) in enumerate(zip(scales, cosines, strict=True))]
        case "norm_face":
            target = cosines[y]
        case "circle":
            s = values["gamma"]
            target = max(1 + m - cosines[y], 0) * (cosines[y] - (1 - m))
            others = lambda c: max(c + m, 0) * (c - m)  # noqa: E731
        case "mv_softmax":
            t, target = values["t"], arc if values["added_to"] == "angle" else cosines[y] - m
            raised = (lambda c: t * c + t - 1) if values["emphasis"] == "adaptive" else (lambda c: c + t - 1)
            others = lambda c: raised(c) if c > target else c  # noqa: E731
        case "curricular_face":
            t, target = values["t"], arc
            others = lambda c: c * (t + c) if c > target else c  # noqa: E731
        case "adaface":
            z = values["z"]
            target = math.cos(theta - m * z) - (m * z + m)
        case "magface" | "elastic_face":
            margin = values["margin"]
            target = cosines[y] - margin if values.get("added_to") == "cosine" else math.cos(theta + margin)
        case _:
            raise ValueError(kind)
    return [s * (target if j == y else others(c)) for j, c in enumerate(cosines)]
