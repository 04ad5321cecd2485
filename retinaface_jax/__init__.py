"""RetinaFace (Deng et al., arXiv 1905.00641, CVPR 2020), in the form of its widespread PyTorch edition.

One pass of one network over the whole image: at every place of three maps (stride 8, 16, 32) it says of two square
anchors whether a face is there, how its box differs from the anchor, and where its five points are. The edition leaves
out the paper's dense regression of 3D shape, its deformable convolutions, and its levels P2 and P6.

`network.py` is the network, on one of `bodies.py`; `anchors.py` and `decode.py` say what its numbers mean; `weights.py`
takes published weights; `detector.py` goes from images to faces.

Training: `config.py` names the values, `augment.py` and `examples.py` make batches, `matching.py` says what the network
should answer, `losses.py` what an error costs, `train_step.py` is the step.
"""

from retinaface_jax.detector import Options, make_detector

__all__ = ["Options", "make_detector"]
