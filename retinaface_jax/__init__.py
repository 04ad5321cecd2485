"""RetinaFace (arXiv 1905.00641, Sec. 3 and 4.2; CVPR 2020), in the form of the repository biubug6/Pytorch_Retinaface.

One pass of one network over the whole image: at every place of three maps (stride 8, 16, 32) it says of two square
anchors whether a face is there, how its box differs from the anchor, and where its five points are. Of the paper that
repository leaves out the dense regression of 3D shape, the deformable convolutions, and the levels P2 and P6.

`README.md` beside this file says which function holds which section, equation and table.

Not here: what all detectors share (`faces.detect`), the command that trains (`experiments.retinaface`), crops and
batches for it (`augment.py`, `examples.py`, which start threads).
"""

from retinaface_jax.anchors import make_anchors
from retinaface_jax.config import Config
from retinaface_jax.decode import decode_boxes, decode_points, find_faces
from retinaface_jax.detector import Options, make_detector
from retinaface_jax.losses import Sums, losses_of_image, smooth_l1
from retinaface_jax.matching import Batch, Targets, assign, encode_boxes, encode_points, match
from retinaface_jax.network import BODIES, Outputs, make_network, to_input
from retinaface_jax.train_step import init_state, make_train_step
from retinaface_jax.weights import Weights, from_pytorch, to_pytorch

__all__ = [
    "BODIES",
    "Batch",
    "Config",
    "Options",
    "Outputs",
    "Sums",
    "Targets",
    "Weights",
    "assign",
    "decode_boxes",
    "decode_points",
    "encode_boxes",
    "encode_points",
    "find_faces",
    "from_pytorch",
    "init_state",
    "losses_of_image",
    "make_anchors",
    "make_detector",
    "make_network",
    "make_train_step",
    "match",
    "smooth_l1",
    "to_input",
    "to_pytorch",
]
