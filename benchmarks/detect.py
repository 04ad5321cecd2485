"""RetinaFace on photographs: speed, and the same faces, beside PyTorch with the same weights in the same process.

    python -m benchmarks.detect IMAGES --detector-weights FILE [--images N] [--rounds N] [--json FILE]

Timed are normalisation, network, decoding and suppression. The peer takes as many images at a time as ours, and also
one at a time, as published code does.

Parity: both must find the same faces. Of each pair of faces the intersection over union of the boxes and the distances
between the points are printed. An image is padded here and not by the peer, so this also shows what the padding does.

Without PyTorch, ours is measured alone.

Not here: accelerators (everything runs on the CPU), MTCNN (`mtcnn.py`).
"""

from importlib.util import find_spec

import jax

from benchmarks import detectors
from benchmarks.rounds import cores
from benchmarks.torch_retinaface import TorchRetinaFace
from faces import cli
from faces.detect.detections import Detector
from faces.terminal import make_console
from faces.weights import read_weights
from retinaface_jax import make_detector
from retinaface_jax.weights import from_pytorch

jax.config.update("jax_platforms", "cpu")

BATCH = 16  # of the peer, which is what ours takes of images of 250x250
OURS, PEER, PEER_SINGLE = "retinaface_jax", f"PyTorch, {BATCH} at a time", "PyTorch, one at a time"


def main(arguments: list[str]) -> None:
    options = detectors.parse(arguments, "detect", __doc__ or "", "mobilenet0.25_Final.pth")
    console = make_console()
    images = detectors.photographs(options.place, options.images)
    tensors = read_weights(options.detector_weights)
    peers: dict[str, Detector] = {}
    if find_spec("torch"):
        peers = {PEER: TorchRetinaFace(tensors, cores(), BATCH), PEER_SINGLE: TorchRetinaFace(tensors, cores(), 1)}
    else:
        console.print(f"PyTorch is not installed, so {OURS} is measured alone: pip install torch")
    ours = (OURS, make_detector(from_pytorch(tensors)))
    detectors.measure("RetinaFace mobilenet0.25, photographs", ours, peers, images, options, console)


if __name__ == "__main__":
    cli.run(main)
