"""MTCNN (Zhang et al., IEEE Signal Processing Letters 2016): three small networks, each of which sees fewer places.

P-net looks at every place of an image at many sizes and proposes boxes. R-net looks at each proposal in 24x24 pixels,
drops most and moves the others. O-net looks at what is left in 48x48 pixels, and finds the eyes, nose and mouth too.

`networks.py` has the three, `pyramid.py` the pixels that they see, `stages.py` what becomes of their outputs;
`weights.py` takes published weights; `detector.py` goes from images to faces.

Training, one network after the other: `config.py` names the values, `windows.py` says which parts of an image teach
what, `examples.py` cuts them and makes batches, `losses.py` says what an error costs, `train_step.py` is the step.
"""

from mtcnn_jax.detector import Options, make_detector

__all__ = ["Options", "make_detector"]
