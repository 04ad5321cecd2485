"""MTCNN (Zhang et al. 2016, arXiv 1604.02878): three small networks (Sec. II), each of which sees fewer places.

P-net looks at every place of an image at many sizes and proposes boxes. R-net looks at each proposal in 24x24 pixels,
drops most and moves the others. O-net looks at what is left in 48x48 pixels, and finds the eyes, nose and mouth too.

`README.md` beside this file says which function holds which section and equation.

Not here: what all detectors share (`faces.detect`), the command that trains (`experiments.mtcnn`), batches for it
(`examples.py`, which starts threads).
"""

from mtcnn_jax.config import NAMES, Config
from mtcnn_jax.detector import Options, make_detector
from mtcnn_jax.losses import Terms, hardest, losses_of_batch
from mtcnn_jax.networks import Outputs, make_net
from mtcnn_jax.train_step import init_state, make_train_step
from mtcnn_jax.weights import to_facenet_pytorch, to_params
from mtcnn_jax.windows import Batch, choose, draw_windows, label, targets

__all__ = [
    "NAMES",
    "Batch",
    "Config",
    "Options",
    "Outputs",
    "Terms",
    "choose",
    "draw_windows",
    "hardest",
    "init_state",
    "label",
    "losses_of_batch",
    "make_detector",
    "make_net",
    "make_train_step",
    "targets",
    "to_facenet_pytorch",
    "to_params",
]
