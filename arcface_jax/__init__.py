"""ArcFace (arXiv 1801.07698), in the paper's order: Sec. 2 the losses, Sec. 3 networks and training.

`README.md` beside this file says which function holds which section, equation and table.

Not here: data, configs and the verification protocol (`faces`); the commands that train (`experiments`).
"""

from arcface_jax.centres import check_labels, init_centres
from arcface_jax.config import Config
from arcface_jax.fitting import fit
from arcface_jax.head import (
    Head,
    class_logits,
    class_loss,
    class_loss_and_score,
    margin_head,
    margin_softmax_loss,
    softmax_head,
    softmax_loss,
)
from arcface_jax.losses import angular_triplet_loss, inter_loss, intra_loss
from arcface_jax.margins import ARCFACE, CM1, CM2, COSFACE, NORM_SOFTMAX, SPHEREFACE, Margin, target_cosine
from arcface_jax.models import NETWORKS, make_backbone
from arcface_jax.sampling import epoch_order
from arcface_jax.train_step import init_state, make_train_step
from faces.ops import l2_normalise, masked_mean

__all__ = [
    "ARCFACE",
    "CM1",
    "CM2",
    "COSFACE",
    "NETWORKS",
    "NORM_SOFTMAX",
    "SPHEREFACE",
    "Config",
    "Head",
    "Margin",
    "angular_triplet_loss",
    "check_labels",
    "class_logits",
    "class_loss",
    "class_loss_and_score",
    "epoch_order",
    "fit",
    "init_centres",
    "init_state",
    "inter_loss",
    "intra_loss",
    "l2_normalise",
    "make_backbone",
    "make_train_step",
    "margin_head",
    "margin_softmax_loss",
    "masked_mean",
    "softmax_head",
    "softmax_loss",
    "target_cosine",
]
