"""SCRFD (arXiv 2105.04714, Sec. 5) from images to faces.

Images are put into batches of few shapes; everything from pixels to the faces that are kept is one compiled program.

Not here: reading weights (`weights.py`, `onnx_names.py`), reducing images (`faces.detect.shrink`), choosing one of
several faces (`faces.detect.detections`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from faces.backbone import Params
from faces.detect.buckets import Batch, of_each_image
from faces.detect.detections import Detections, Detector
from faces.errors import ConfigError
from scrfd_jax.decode import Found, find_faces, make_places
from scrfd_jax.network import make_network, to_input
from scrfd_jax.weights import Weights


@dataclass(frozen=True)
class Options:
    """How to look for faces.

    Attributes:
        confidence: a face scores this or more; 0.5 as in the authors' code. For average precision, that takes 0.02.
        overlap: of two faces whose boxes overlap by more, intersection over union, the weaker is dropped.
        top_k: most candidates of an image that are compared with each other.
        keep: most faces of an image.
        pixels_at_once: most pixels of a batch.
    """

    confidence: float = 0.5
    overlap: float = 0.4
    top_k: int = 5000
    keep: int = 750
    pixels_at_once: int = 16 * 256 * 256

    def __post_init__(self) -> None:
        if not 0 <= self.confidence < 1:
            raise ConfigError(f"confidence {self.confidence}: at least 0 and less than 1 is expected")
        if not 0 <= self.overlap <= 1:
            raise ConfigError(f"overlap {self.overlap}: 0 to 1 is expected")
        for name in ("top_k", "keep", "pixels_at_once"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} {getattr(self, name)}: at least 1 is expected")


DEFAULT = Options()


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
