"""How detectors that score every place of an image in one pass look for faces: RetinaFace and SCRFD.

Not here: their networks and what their outputs mean (`retinaface_jax`, `scrfd_jax`).
"""

from dataclasses import dataclass

from faces.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """How to look for faces.

    Attributes:
        confidence: a face scores more than this, or as much with SCRFD, as the authors' codes have it. 0.5 shows what
            one would call a face; for average precision, published code takes 0.02.
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
