"""SCRFD (arXiv 2105.04714, Sec. 4; ICLR 2022), the detector of InsightFace, in the form of its authors' repository.

One pass of one network over the whole image: at every place of three maps (stride 8, 16, 32) it says of two anchors
whether a face is there, how far its four sides are, and where its five points are.

`README.md` beside this file says where to find what.

Not here: what all detectors share (`faces.detect`), training, and the paper's searches.
"""

from scrfd_jax.architectures import ARCHITECTURES, Architecture
from scrfd_jax.decode import decode_boxes, decode_points, find_faces, make_places
from scrfd_jax.detector import Options, make_detector
from scrfd_jax.network import Outputs, make_network, to_input
from scrfd_jax.onnx_names import from_onnx
from scrfd_jax.weights import Weights, from_pytorch

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Options",
    "Outputs",
    "Weights",
    "decode_boxes",
    "decode_points",
    "find_faces",
    "from_onnx",
    "from_pytorch",
    "make_detector",
    "make_network",
    "make_places",
    "to_input",
]
