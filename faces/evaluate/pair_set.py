"""A verification set as arrays: cropped images, and the pairs and folds of its list.

Every image is cropped once, and each model, before or after training, raw pixels as well, judges the same crops.

Not here: the protocol (`verification.py`), formats on disk (`faces.data.lfw`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faces.config import EvaluationConfig
from faces.data import augment
from faces.data.generated import generated_faces, generated_pairs
from faces.data.lfw import read_lfw
from faces.evaluate.verification import VerificationResult, verify


@dataclass(frozen=True)
class PairSet:
    """Images and pairs.

    Args:
        name: a word for tables.
        images: uint8 (images, rows, columns, 3), RGB; rows of missing images are black and never judged.
        names: name of each image.
        first, second: rows of each pair's images, int32 (pairs,).
        same: whether a pair shows one person, bool (pairs,).
        fold: the list's folds, int32 (pairs,).
        missing: names of images that the list has and the folder has not.
        generated: the faces are generated.
    """

    name: str
    images: np.ndarray
    names: tuple[str, ...]
    first: np.ndarray
    second: np.ndarray
    same: np.ndarray
    fold: np.ndarray
    missing: tuple[str, ...]
    generated: bool

    def judge(self, embeddings: np.ndarray, far: float, allow_missing: bool = False) -> VerificationResult:
        """The protocol's result for these embeddings, (images, d); see `verification.verify`."""
        return verify(
            embeddings,
            self.names,
            self.first,
            self.second,
            self.same,
            self.fold,
            far,
            missing=self.missing,
            allow_missing=allow_missing,
        )


def lfw_pairs(name: str, path: Path | str, size: tuple[int, int], config: EvaluationConfig) -> PairSet:
    """LFW, or any set in its layout, cropped by the config.

    Args:
        name: a word for tables.
        path: a folder that `faces.data.lfw.read_lfw` opens.
        size: rows and columns of the crops.
        config: the crop, and Table 4's JPEG quality and number of pixels.
    Raises:
        DataError: as `read_lfw`. Missing images raise nothing here; `PairSet.judge` refuses the number.
    """
    lfw = read_lfw(path)
    names = tuple(sorted({*lfw.pairs.first, *lfw.pairs.second}))
    row = {image: index for index, image in enumerate(names)}
    missing = lfw.missing
    absent = set(missing)
    images = np.zeros((len(names), *size, 3), np.uint8)
    for index, image in enumerate(names):
        if image not in absent:
            images[index] = prepare_image(lfw.load(image), size, config)
    return PairSet(
        name,
        images,
        names,
        np.array([row[image] for image in lfw.pairs.first], np.int32),
        np.array([row[image] for image in lfw.pairs.second], np.int32),
        lfw.pairs.same,
        lfw.pairs.folds,
        missing,
        generated=False,
    )


def prepare_image(image: np.ndarray, size: tuple[int, int], config: EvaluationConfig) -> np.ndarray:
    """Cut the face out of a test image, at the network's size; where the config asks for it, lower its quality first.

    Table 4 of FaceNet counts pixels of face thumbnails, and compresses those: so the face is cut out at the image's own
    scale, shrunk to `pixels`, compressed at `jpeg_quality`, and brought to the network's size last.
    """
    if config.pixels == 0 and config.jpeg_quality == 0:
        return augment.crop(image, size, config.crop)
    left, top, right, bottom = config.crop
    face_size = (max(1, round((bottom - top) * image.shape[0])), max(1, round((right - left) * image.shape[1])))
    face = augment.crop(image, face_size, config.crop)
    if config.pixels > 0:
        face = augment.reduce_pixels(face, config.pixels)
    if config.jpeg_quality > 0:
        face = augment.recompress(face, config.jpeg_quality)
    return augment.crop(face, size)


def generated_pair_set(identities: int, images_per_identity: int, size: int, seed: int, first_identity: int) -> PairSet:
    """Pairs of generated faces in ten folds, of people numbered from `first_identity`."""
    source = generated_faces(identities, images_per_identity, size, seed, first_identity)
    pairs = generated_pairs(source, seed=seed)
    names = tuple(f"identity {first_identity + n // images_per_identity}, image {n % images_per_identity}"
                  for n in range(len(source)))
    return PairSet(
        "generated", source.images, names, pairs.first, pairs.second, pairs.same, pairs.fold, (), generated=True
    )
