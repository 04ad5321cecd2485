"""SCRFD (arXiv 2105.04714, Sec. 5) from images to faces.

Images are put into batches of few shapes; everything from pixels to the faces that are kept is one compiled program.

Not here: reading weights (`weights.py`, `onnx_names.py`), reducing images (`faces.detect.shrink`), choosing one of
several faces (`faces.detect.detections`).
"""

from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from faces.backbone import Params
from faces.detect.buckets import Batch, of_each_image
from faces.detect.detections import Detections, Detector
from faces.detect.one_pass import DEFAULT, Options
from scrfd_jax.decode import Found, find_faces, make_places
from scrfd_jax.network import make_network, to_input
from scrfd_jax.weights import Weights


def make_detector(weights: Weights, options: Options = DEFAULT) -> Detector:
    """A function that finds the faces of images.

    One program is compiled for each shape of batch, the first time it is met.

    Args:
        weights: of `weights.from_pytorch` or `onnx_names.from_onnx`.
        options: how to look for faces.

    Returns:
        A `Detector`.
    """
    find = _program(weights.network, weights.is_grouped, options)
    placed = jax.device_put(weights.params)

    def detect_batch(batch: Batch) -> list[Detections]:
        boxes, points, scores = map(np.asarray, find(placed, batch.pixels, batch.sizes))
        faces = np.count_nonzero(scores, axis=1)[: len(batch.indices)]  # (images,)
        return [Detections(boxes[row, :n], points[row, :n], scores[row, :n]) for row, n in enumerate(faces)]

    return lambda images: of_each_image(detect_batch, images, options.pixels_at_once)


@cache
def _program(network: str, is_grouped: bool, options: Options) -> Callable[..., Found]:
    """Parameters, pixels, sizes -> faces; one for all weights of a network."""
    apply = make_network(network, is_grouped).apply

    @jax.jit
    def find(params: Params, pixels: jax.Array, sizes: jax.Array) -> Found:
        outputs = apply(params, to_input(pixels), sizes)
        places = jnp.asarray(make_places(*pixels.shape[1:3]))  # (anchors, 3)
        inside = (places[None, :, 1::-1] < sizes[:, None]).all(axis=-1)  # (B, anchors)
        find_one = partial(
            find_faces,
            confidence=options.confidence,
            overlap=options.overlap,
            top_k=options.top_k,
            keep=options.keep,
        )
        return jax.vmap(find_one, in_axes=(0, None, 0))(outputs, places, inside)

    return find
