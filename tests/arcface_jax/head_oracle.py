"""Losses of the classification head and their gradients in float64, one image and one class after another."""

import math

import numpy as np


def margin_loss(
    embeddings: np.ndarray,
    centres: np.ndarray,
    labels: np.ndarray,
    m: tuple[float, float, float],
    s: float,
    straight_through: bool = False,
    times_norm: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eq. (4) of ArcFace for each image, and the gradients of the losses' sum.

    Args:
        embeddings: (B, d); centres: (C, d) or (C, K, d); labels: (B,).
        m: m1, m2, m3.
        s: the scale.
        straight_through: the derivative of the target by the cosine is taken as 1.
        times_norm: the scale is the embedding's length, and s is not used.
    Returns:
        losses (B,), gradient by the embeddings (B, d), by the centres.
    """
    x_all, w_all = np.asarray(embeddings, np.float64), np.asarray(centres, np.float64)
    with_k = w_all if w_all.ndim == 3 else w_all[:, None, :]
    losses, of_x, of_w = np.zeros(len(x_all)), np.zeros_like(x_all), np.zeros_like(with_k)
    for i, (x, y) in enumerate(zip(x_all, labels, strict=True)):
        length = math.sqrt(sum(v * v for v in x))
        scale = length if times_norm else s
        cosines, nearest = [], []
        for j in range(len(with_k)):
            of_class = [float(w @ x) / (math.sqrt(sum(v * v for v in w)) * length) for w in with_k[j]]
            nearest.append(max(range(len(of_class)), key=of_class.__getitem__))
            cosines.append(of_class[nearest[j]])
        theta = math.acos(cosines[y])
        target = math.cos(m[0] * theta + m[1]) - m[2]
        slope = 1.0 if straight_through else m[0] * math.sin(m[0] * theta + m[1]) / math.sin(theta)
        logits = [scale * (target if j == y else cosine) for j, cosine in enumerate(cosines)]
        top = max(logits)
        total = sum(math.exp(logit - top) for logit in logits)
        probability = [math.exp(logit - top) / total for logit in logits]
        others = sum(p for j, p in enumerate(probability) if j != y)
        # log(1 / p) loses the digits of a small loss; log(1 + (1 - p) / p) does not.
        losses[i] = math.log1p(others / probability[y]) if probability[y] > 0 else top + math.log(total) - logits[y]
        of_scale = 0.0
        for j, cosine in enumerate(cosines):
            of_logit = -others if j == y else probability[j]
            of_scale += of_logit * (target if j == y else cosine)
            of_cosine = of_logit * scale * (slope if j == y else 1.0)
            w = with_k[j, nearest[j]]
            w_length = math.sqrt(sum(v * v for v in w))
            of_x[i] += of_cosine * (w / w_length - cosine * x / length) / length
            of_w[j, nearest[j]] += of_cosine * (x / length - cosine * w / w_length) / w_length
        if times_norm:
            of_x[i] += of_scale * x / length
    return losses, of_x, of_w.reshape(w_all.shape)


def softmax_loss(
    embeddings: np.ndarray, centres: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eq. (1) for each image, and the gradients of the losses' sum; the centres' last column is the bias."""
    x_all, w_all = np.asarray(embeddings, np.float64), np.asarray(centres, np.float64)
    losses, of_x, of_w = np.zeros(len(x_all)), np.zeros_like(x_all), np.zeros_like(w_all)
    for i, (x, y) in enumerate(zip(x_all, labels, strict=True)):
        logits = [float(w[:-1] @ x) + w[-1] for w in w_all]
        top = max(logits)
        total = sum(math.exp(logit - top) for logit in logits)
        losses[i] = top + math.log(total) - logits[y]
        for j, logit in enumerate(logits):
            of_logit = math.exp(logit - top) / total - (1.0 if j == y else 0.0)
            of_x[i] += of_logit * w_all[j, :-1]
            of_w[j, :-1] += of_logit * x
            of_w[j, -1] += of_logit
    return losses, of_x, of_w
