"""Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"): momentum whose step for each
kernel has singular values near 1.

`optax.contrib` has it too, for a batch of matrices at once, which XLA:CPU runs four times slower (benchmarks/NOTES.md).

Not here: the learning rate (`faces.schedules`).
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

POLYNOMIAL = (3.4445, -4.7750, 2.0315)
"""a, b, c of Newton-Schulz, x -> a x + b x^3 + c x^5: the authors' choice, steep at 0, near 1 from there on."""

ITERATIONS = 5


def scale_by_muon(momentum: float) -> optax.GradientTransformation:
    """Nesterov's momentum, then `orthogonalise` for every kernel; biases, scales and slopes keep the momentum.

    An L2 penalty that the gradient already holds turns a kernel's step and does not lengthen it. The authors' decay
    shrinks the kernel beside the step instead, and is not here.

    Args:
        momentum: from 0 to below 1. The authors' is 0.95.
    """
    return optax.chain(optax.trace(momentum, nesterov=True), optax.stateless(_orthogonalise_kernels))


def _orthogonalise_kernels(updates: Any, params: Any) -> Any:
    del params
    return jax.tree.map(lambda update: orthogonalise(update) if update.ndim > 1 else update, updates)


def orthogonalise(update: jax.Array) -> jax.Array:
    """U f(S) V^T for update = U S V^T, where f(S) lies around 1 unless S / |S| is below some 1e-3.

    A kernel is read as the matrix of its last axis, the outputs, against all others. Powers of the smaller of the two
    Gram matrices commute, so that only the first and the last product have the kernel's size. A Gram matrix holds the
    squares of the singular values, so its products are in float32 on TPUs and GPUs as well.

    Args:
        update: (..., outputs) float32.
    Returns:
        The same shape and dtype, times sqrt(outputs / inputs) where there are more outputs than inputs. 0 stays 0.
    """
    matrix = update.reshape(-1, update.shape[-1])  # (inputs, outputs)
    inputs, outputs = matrix.shape
    wide = outputs > inputs
    x = matrix.T if wide else matrix  # (m, n), m >= n
    x = x / (jnp.linalg.norm(x) + 1e-8)
    a, b, c = POLYNOMIAL
    identity = jnp.eye(x.shape[1], dtype=x.dtype)
    with jax.default_matmul_precision("float32"):
        # Iterating x -> x p(x^T x): the product of the p's so far, and x^T x as it is after them.
        product, gram = identity, x.T @ x  # (n, n)
        for _ in range(ITERATIONS):
            factor = a * identity + b * gram + c * (gram @ gram)
            product, gram = product @ factor, factor @ gram @ factor
        x = x @ product
    scale = max(1.0, outputs / inputs) ** 0.5
    return scale * (x.T if wide else x).reshape(update.shape)
