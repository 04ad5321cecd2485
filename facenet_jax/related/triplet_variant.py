"""The triplet loss with another distance, or another hinge: what Eq. (3) of FaceNet (Sec. 3.1) could have been.

    slack(D_ap - D_an + alpha),    D squared as FaceNet's or Euclidean,
    slack(x) = max(0, x), the hinge,  or  ln(1 + exp(x)), the soft margin (Hermans, Beyer, Leibe, arXiv 1703.07737).

Its place: FaceNet takes squares and the hinge. Under squares the pull on a positive grows with its distance, and dies
as it comes near; under plain distances it is constant. The hinge forgets a triplet that has its margin; the soft margin
never does, and needs no alpha. Much code that is called FaceNet has plain distances under the paper's alpha, which is
another loss: 0.2 of a squared distance of 1 is 0.1 of the distance.

Geometry: squared, the border of a triplet is a plane square to p - n; Euclidean, a branch of a hyperbola whose foci
are p and n.

Not here: FaceNet's own, squared and with the hinge (`facenet_jax.losses`); the triplets (`facenet_jax.mining_fast`).
"""

import jax
from jaxtyping import Array, Float

from facenet_jax.related.config import Slack


def triplet_loss_of_distances(
    d_ap: Float[Array, "*triplets"], d_an: Float[Array, "*triplets"], alpha: float, slack: Slack
) -> Float[Array, "*triplets"]:
    """Loss of each triplet, slack(D_ap - D_an + alpha).

    Args:
        d_ap, d_an: distances of the anchor to its positive and to its negative, both squared or both Euclidean.
        alpha: the margin, in units of these distances; the soft margin is published with 0.
        slack: "hinge" or "soft_margin".
    Returns:
        float32, of the same shape.
    """
    lacks = d_ap - d_an + alpha
    return jax.nn.relu(lacks) if slack == "hinge" else jax.nn.softplus(lacks)
