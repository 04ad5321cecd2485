"""Which classifier a config makes: Eq. (1) to (4) of ArcFace (arXiv 1801.07698, Table 2), or a relative of `related/`.

Each is a `Head`, some with a term of their own beside it, and some with numbers that they keep from step to step. These
lie in the state as `loss_state`, by name: what has a row for each class is divided over the mesh as the centres are,
and of the rest every device has a copy. The optimiser moves those that are `LEARNED`; the others a rule of the loss's
own.

Not here: the losses (`margins.py`, `head.py`, `related/`), the step (`train_step.py`).
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from arcface_jax import head, losses
from arcface_jax.centres import own_centre
from arcface_jax.config import AnyClassifier
from arcface_jax.margins import Margin, target_cosine
from arcface_jax.related import (
    adaface,
    center_loss,
    circle,
    curricular_face,
    elastic_face,
    focal,
    l_softmax,
    magface,
    mv_softmax,
    norm_face,
    ohem,
    sphereface,
)
from arcface_jax.related.configs import FocalConfig, OhemConfig
from faces import ops

LEARNED = ("s",)
"""Names in a `loss_state` that the optimiser moves; everything else follows a rule of the loss."""
LINEAR = ("softmax", "center_loss")
"""Kinds with a bias beside each centre, as Eq. (1) has it."""

LossState = dict[str, Any]
Terms = dict[str, tuple[float, jax.Array]]
"""Weight and mean over the batch, by name."""


class Given(NamedTuple):
    """What a step knows when its loss is made; arrays over the batch are divided over the mesh."""

    embeddings: jax.Array
    """x, (batch, d), as the network gave them."""
    centres: jax.Array
    """W, (rows, ...), or a sample of its rows."""
    labels: jax.Array
    """Row of each image's class in `centres`."""
    identities: jax.Array
    """Class of each image."""
    mesh: Mesh
    step: jax.Array
    """Batches seen so far, which ramps and annealing depend on."""
    key: jax.Array
    """A random key of this step's own."""
    state: LossState
    """`loss_state` before the step."""


def init_loss_state(classifier: AnyClassifier, rows: int, d: int) -> LossState:
    """What a loss keeps, before the first step.

    Args:
        classifier: of a config.
        rows: of the centres, padding included.
        d: length of an embedding.
    """
    match classifier.kind:
        case "norm_face":
            return {"s": jnp.float32(classifier.s)}
        case "center_loss":
            return {"centres": jnp.zeros((rows, d))}
        case "curricular_face":
            return {"t": jnp.float32(0)}
        case "adaface":
            return {"norm_mean": jnp.float32(classifier.norm_mean), "norm_std": jnp.float32(classifier.norm_std)}
        case _:
            return {}


def learned(state: LossState) -> LossState:
    """What of it the optimiser moves."""
    return {name: value for name, value in state.items() if name in LEARNED}


def head_of(classifier: AnyClassifier, given: Given) -> head.Head:
    """What the config makes of scores in a step.

    CHOICE: with `margin_ramp_steps` the target's logit moves from cos(theta) to the margin's over the first steps, in
    proportion. A small network from random weights, on few images a person, may not find its way under the whole
    margin; the paper starts with the whole.

    Args:
        classifier: of a config, of any kind but "none".
        given: of the step.
    """
    whole = _head_with_whole_margin(classifier, given)
    ramp = getattr(classifier, "margin_ramp_steps", 0)
    if ramp == 0:
        return whole
    part = jnp.minimum(1.0, given.step / ramp)
    return dataclasses.replace(whole, target=lambda score: score + part * (whole.target(score) - score))


def _head_with_whole_margin(classifier: AnyClassifier, given: Given) -> head.Head:
    match classifier.kind:
        case "softmax" | "center_loss":
            return head.softmax_head()
        case "margin":
            margin = Margin(classifier.m1, classifier.m2, classifier.m3, classifier.gradient)
            return head.margin_head(margin, classifier.s)
        case "sphereface":
            m, base = classifier.m, classifier.annealing_base
            lam = sphereface.annealing(
                given.step, base, classifier.annealing_gamma, classifier.annealing_minimum
            )
            return head.Head("cosine_times_norm", lambda score: sphereface.annealed_target(score, m, lam))
        case "l_softmax":
            m, power = classifier.m, classifier.annealing_power
            fall = (classifier.annealing_base, classifier.annealing_gamma, classifier.annealing_minimum)
            lam = sphereface.annealing(given.step, *fall, power)
            own = own_centre(given.centres, given.labels, given.mesh)  # (batch, d)
            return head.Head("inner", lambda score: l_softmax.target_logit(score, given.embeddings, own, m, lam))
        case "norm_face":
            return head.Head("cosine", lambda cosine: cosine, norm_face.scale(given.state["s"], classifier.s_floor))
        case "circle":
            m = classifier.m
            of_others = partial(circle.of_others, m=m)
            return head.Head("cosine", partial(circle.target, m=m), classifier.gamma, of_others)
        case "mv_softmax":
            of_others = partial(mv_softmax.of_others, t=classifier.t, emphasis=classifier.emphasis)
            return head.Head("cosine", _with_margin(classifier.m, classifier.added_to), classifier.s, of_others)
        case "curricular_face":
            progress = partial(curricular_face.progress, before=given.state["t"], momentum=classifier.momentum)
            arcface = _with_margin(classifier.m, "angle")
            return head.Head("cosine", arcface, classifier.s, curricular_face.of_others, progress)
        case "adaface":
            lengths = adaface.lengths(given.embeddings)
            z = adaface.quality(lengths, **_statistics(classifier, given), h=classifier.h)
            return head.Head("cosine", partial(adaface.target, z=z, m=classifier.m), classifier.s)
        case "magface":
            norms = (classifier.lower_norm, classifier.upper_norm)
            a = magface.magnitude(given.embeddings, *norms)
            margin = magface.margin(a, *norms, classifier.lower_margin, classifier.upper_margin)
            return head.Head("cosine", partial(magface.target, margin=margin), classifier.s)
        case "elastic_face":
            margins = elastic_face.draw(given.key, len(given.labels), classifier.m, classifier.sigma)
            dealt = elastic_face.dealt if classifier.by_rank else lambda margins, cosine: margins
            return head.Head(
                "cosine",
                lambda cosine: elastic_face.target(cosine, dealt(margins, cosine), classifier.added_to),
                classifier.s,
            )
        case "none":
            raise ValueError("there is no classifier")


def _with_margin(m: float, added_to: elastic_face.AddedTo) -> Callable[[jax.Array], jax.Array]:
    """ArcFace's or CosFace's target."""
    return partial(target_cosine, margin=Margin(1.0, m, 0.0) if added_to == "angle" else Margin(1.0, 0.0, m))


def cosine_centres(scores_of: head.Head, centres: jax.Array) -> jax.Array | None:
    """Centres whose cosines a head's scores are not, for metrics; None where they are."""
    if scores_of.has_directions:
        return None
    return centres[..., :-1] if scores_of.scores == "linear" else centres  # the last column is Eq. (1)'s bias


def added_terms(classifier: AnyClassifier, given: Given, cos_theta: jax.Array, valid: Any) -> Terms:
    """What a classifier adds to its softmax.

    Args:
        classifier: of a config.
        given: of the step.
        cos_theta: of each image with its own centre, without a margin, (batch,).
        valid: as for `head.class_loss`.
    """
    terms: Terms = {}
    match classifier.kind:
        case "margin":
            if classifier.intra > 0:
                terms["intra"] = (classifier.intra, jnp.mean(losses.intra_loss(cos_theta)))  # Eq. (5)
            if classifier.inter > 0:
                own = own_centre(given.centres, given.labels, given.mesh)
                per_image = losses.inter_loss(own, given.centres, given.labels, valid)  # (batch,)  Eq. (6)
                terms["inter"] = (classifier.inter, jnp.mean(per_image))
        case "center_loss":
            own = own_centre(given.state["centres"], given.identities, given.mesh)
            terms["pull"] = (classifier.weight, jnp.mean(center_loss.pull(given.embeddings, own)))
        case "magface":
            a = magface.magnitude(given.embeddings, classifier.lower_norm, classifier.upper_norm)
            mean = jnp.mean(magface.regulariser(a, classifier.upper_norm))
            terms["magnitude"] = (classifier.norm_weight, mean)
        case _:
            pass
    return terms


def next_loss_state(classifier: AnyClassifier, given: Given, cos_theta: jax.Array) -> LossState:
    """What a loss keeps after the step, but for what is `LEARNED`; carries no gradient.

    Args:
        classifier, given, cos_theta: as for `added_terms`.
    """
    match classifier.kind:
        case "center_loss":
            means = given.state["centres"]
            moved = center_loss.moved(means, given.embeddings, given.identities, classifier.alpha, given.mesh)
            return {"centres": moved}
        case "curricular_face":
            return {"t": curricular_face.progress(cos_theta, given.state["t"], classifier.momentum)}
        case "adaface":
            return _statistics(classifier, given)
        case _:
            return {}


def _statistics(classifier: Any, given: Given) -> LossState:
    """AdaFace's, with this batch in them, as the authors' code has it before it uses them."""
    return adaface.statistics(adaface.lengths(given.embeddings), given.state, classifier.momentum)


def mean_over_images(weighting: FocalConfig | OhemConfig | None, per_image: jax.Array) -> jax.Array:
    """The classes' part of the loss: its mean over the images, weighted as the config has it.

    Args:
        weighting: None, focal loss, or OHEM.
        per_image: the losses of a batch over all devices, (batch,).
    """
    if weighting is None:
        return jnp.mean(per_image)
    if weighting.kind == "focal":
        return jnp.mean(focal.focal(per_image, weighting.gamma))
    return ops.masked_mean(per_image, ohem.hardest(per_image, weighting.kept))
