"""RetinaFace (arXiv 1905.00641, Sec. 4.2) from images to faces.

Images are put into batches of few shapes; everything from pixels to the faces that are kept is one compiled program.

Not here: reading weights (`weights.py`), reducing images (`faces.detect.shrink`), choosing one of several faces
(`faces.detect.detections`).
"""

from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from faces.backbone import BatchStats, Params
from faces.detect.buckets import Batch, of_each_image
from faces.detect.detections import Detections, Detector
from faces.detect.one_pass import DEFAULT, Options
from retinaface_jax.anchors import first_pixels, make_anchors
from retinaface_jax.decode import Found, find_faces
from retinaface_jax.network import make_network, to_input
from retinaface_jax.weights import Weights


def make_detector(weights: Weights, options: Options = DEFAULT) -> Detector:
    """A function that finds the faces of images.

    One program is compiled for each shape of batch, the first time it is met.

    Args:
        weights: of `weights.from_pytorch`, or of training.
        options: how to look for faces.

    Returns:
        A `Detector`.
    """
    find = _program(weights.network, options)
    placed = jax.device_put((weights.params, weights.batch_stats))

    def detect_batch(batch: Batch) -> list[Detections]:
        boxes, points, scores = map(np.asarray, find(*placed, batch.pixels, batch.sizes))
        faces = np.count_nonzero(scores, axis=1)[: len(batch.indices)]  # (images,)
        return [Detections(boxes[row, :n], points[row, :n], scores[row, :n]) for row, n in enumerate(faces)]

    return lambda images: of_each_image(detect_batch, images, options.pixels_at_once)


@cache
def _program(network: str, options: Options) -> Callable[..., Found]:
    """Parameters, batch statistics, pixels, sizes -> faces; one for all weights, so that training compiles it once."""
    apply = make_network(network).apply

    @jax.jit
    def find(params: Params, batch_stats: BatchStats, pixels: jax.Array, sizes: jax.Array) -> Found:
        outputs, _ = apply(params, batch_stats, to_input(pixels), False, sizes)
        size = pixels.shape[1:3]
        inside = (jnp.asarray(first_pixels(*size))[None] < sizes[:, None]).all(axis=-1)  # (B, anchors)
        find_one = partial(
            find_faces,
            confidence=options.confidence,
            overlap=options.overlap,
            top_k=options.top_k,
            keep=options.keep,
        )
        return jax.vmap(find_one, in_axes=(0, None, 0))(outputs, jnp.asarray(make_anchors(*size)), inside)

    return find
