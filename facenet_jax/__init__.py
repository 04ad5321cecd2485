"""FaceNet: A Unified Embedding for Face Recognition and Clustering (arXiv 1503.03832), Sec. 3, in the paper's order.

`README.md` beside this file says which function holds which section, equation and table.

Not here: data, configs and the evaluation of Sec. 4 (`faces`); the commands that train (`experiments`).
"""

from facenet_jax.config import Config
from facenet_jax.fitting import fit
from facenet_jax.losses import triplet_loss, triplet_loss_of_pairs
from facenet_jax.mining import Mined, hardest, random_violator, semi_hard
from facenet_jax.models import NETWORKS, make_backbone
from facenet_jax.sampling import epoch_order
from facenet_jax.train_step import init_state, make_train_step, triplet_objective
from faces.ops import l2_normalise, masked_mean, squared_distances

__all__ = [
    "NETWORKS",
    "Config",
    "Mined",
    "epoch_order",
    "fit",
    "hardest",
    "init_state",
    "l2_normalise",
    "make_backbone",
    "make_train_step",
    "masked_mean",
    "random_violator",
    "semi_hard",
    "squared_distances",
    "triplet_loss",
    "triplet_loss_of_pairs",
    "triplet_objective",
]
