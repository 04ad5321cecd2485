"""Circle loss in class form (Sun et al., CVPR 2020, arXiv 2002.10857): each cosine at a pace of its own.

It answered the margins of ArcFace's Eq. 4, which push the own cosine s_p up and the others s_n down equally hard,
however far each has come. Here every cosine is weighted by how far it is from its optimum, O_p = 1 + m and O_n = -m:
    l = log(1 + sum_n exp(g [s_n - O_n]_+ (s_n - m)) exp(-g [O_p - s_p]_+ (s_p - (1 - m)))).
That is a softmax: the own class's logit is g a_p (s_p - (1 - m)), another's g a_n (s_n - m), and the weights, a_p and
a_n, carry no gradient. The paper has a form for pairs as well; against class centres it is this.

Geometry: the border of two classes is s_n^2 + (s_p - 1)^2 = 2 m^2, a circle around (s_n, s_p) = (0, 1), where ArcFace's
and CosFace's are lines that allow a face with s_p and s_n both high.

Not here: the form for pairs of a batch; the softmax over these logits (`head.py`).
"""

import jax
from jax import lax
from jaxtyping import Array, Float


def target(own: Float[Array, "*batch"], m: float) -> Float[Array, "*batch"]:
    """What takes the place of the cosine with the own class: [1 + m - s_p]_+ (s_p - (1 - m)).

    Args:
        own: s_p, any shape.
        m: 0 to 1; the paper takes 0.25 for faces.
    Returns:
        Same shape; the derivative is the weight alone, at least m within the cosines.
    """
    weight = jax.nn.relu(1 + m - lax.stop_gradient(own))  # a_p
    return weight * (own - (1 - m))


def of_others(others: Float[Array, "*batch"], target: Array, number: Array, *, m: float) -> Float[Array, "*batch"]:
    """What takes the place of the cosine with another class: [s_n + m]_+ (s_n - m).

    Args:
        others: s_n, any shape.
        target, number: of `Head.of_others`; the loss has no use for them.
        m: as for `target`.
    """
    weight = jax.nn.relu(lax.stop_gradient(others) + m)  # a_n
    return weight * (others - m)
