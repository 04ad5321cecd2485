"""A verification set: photographs as they lie on disk, or faces cut out of them, and the pairs and folds of its list.

Every face is cut out once: a model before and after training, and raw pixels, are compared on the same faces.

Not here: the protocol (`verification.py`), formats on disk (`faces.data`).
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from faces.config import EvaluationConfig
from faces.data import augment
from faces.data.cfp import PROTOCOL, read_cfp
from faces.data.lfw import Lfw, read_lfw
from faces.data.pair_bin import read_pair_bin
from faces.data.pair_files import PairFolder, find_list, read_pair_files
from faces.data.prepared import PreparedFaces
from faces.data.synthetic.generated import generated_faces, generated_pairs
from faces.errors import DataError
from faces.evaluate.verification import VerificationResult, verify

GENERATED = "generated"
"""Name of the set of generated faces."""

@dataclass(frozen=True)
class PairSet:
    """Images and pairs.

    Args:
        name: a word for tables.
        images: uint8 (images, rows, columns, 3), RGB; rows of missing images are black and never compared.
        names: name of each image.
        first, second: rows of each pair's images, int32 (pairs,).
        same: whether a pair shows one person, bool (pairs,).
        fold: the list's folds, int32 (pairs,).
        missing: names of images that the list names and the folder lacks.
        generated: the faces are generated.
        remark: what must be said beside any number of this set, such as folds that are not the official ones; or empty.
        undetected: names of images that are there, but no face was found in them; they are not compared either.
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
    remark: str = ""
    undetected: tuple[str, ...] = ()

    def digest(self) -> str:
        """A hash of pairs, folds, names and the images as they are cut; 32 hexadecimal digits."""
        hashed = hashlib.blake2b("\0".join(self.names).encode("utf-8", "surrogateescape"), digest_size=16)
        for array in (self.first, self.second, self.same, self.fold, self.images):
            hashed.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).data)
        return hashed.hexdigest()

    def evaluate(self, embeddings: np.ndarray, far: float, allow_missing: bool = False) -> VerificationResult:
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
            undetected=self.undetected,
            allow_missing=allow_missing,
        )


@dataclass(frozen=True)
class Photographs:
    """A verification set as it lies on disk, before faces are cut out.

    Args:
        name, names, first, second, same, fold, missing, remark: as in `PairSet`.
        read: the photographs at some rows of `names`, or at all without an argument, in their order, uint8 (height,
            width, 3), RGB; None for a missing one.
        aligned: the photographs are faces already, which are taken whole.
        passed_over: what lies between the photographs and is none, with the reason.
        cut_as: of faces that were cut out of photographs before, how, where that is known.
    """

    name: str
    names: tuple[str, ...]
    first: np.ndarray
    second: np.ndarray
    same: np.ndarray
    fold: np.ndarray
    missing: tuple[str, ...]
    remark: str
    read: Callable[..., Iterator[np.ndarray | None]]
    aligned: bool
    passed_over: Mapping[str, str] = field(default_factory=dict)
    cut_as: Mapping[str, Any] | None = None

    def cut(self, size: tuple[int, int], config: EvaluationConfig) -> PairSet:
        """The set with its faces cut out as the config says; those of aligned photographs are the whole photograph."""
        if self.aligned:
            config = replace(config, crop=augment.FULL)
        images = np.zeros((len(self.names), *size, 3), np.uint8)  # (images, rows, columns, 3)
        sides = []
        for row, photograph in enumerate(self.read()):
            if photograph is not None:
                images[row] = prepare_image(photograph, size, config)
                sides.append(_face_size(photograph, config))
        return self.with_images(images, unshrunk(sides, config.pixels))

    def with_images(self, images: np.ndarray, remark: str = "") -> PairSet:
        """The set with these faces, (names, rows, columns, 3), and what must be said of them besides."""
        return PairSet(
            self.name,
            images,
            self.names,
            self.first,
            self.second,
            self.same,
            self.fold,
            self.missing,
            generated=False,
            remark="; ".join(part for part in (self.remark, remark) if part),
        )


def open_photographs(name: str, path: Path | str) -> Photographs:
    """A verification set of any layout that is read here.

    | at `path` | what it is taken for | the photographs |
    |---|---|---|
    | a .bin file | InsightFace's pairs | aligned |
    | a folder with `Protocol` | CFP; `name` says which of its protocols, "cfp_fp" or "cfp_ff" | as they are |
    | a folder with `pairs_CALFW.txt` or `pairs_CPLFW.txt` | that set, in its authors' layout | as they are |
    | a prepared folder that says so | LFW's layout: people held out, or of `experiments.pairs` | aligned |
    | any other folder | LFW's layout: LFW itself, and AgeDB-30, CALFW and CPLFW where they come so | as they are |

    Args:
        name: a word for tables.
        path: the file or folder.
    Raises:
        DataError: nothing that fits lies there, or as the reader of its layout. Missing images raise nothing here;
            `PairSet.evaluate` refuses the number.
    """
    place = Path(path)
    if place.suffix == ".bin" and not place.is_dir():
        pairs = read_pair_bin(place)
        names = tuple(f"image {number}" for number in pairs.numbers)
        parts = (pairs.first, pairs.second, pairs.same, pairs.fold)
        return Photographs(name, names, *parts, (), pairs.remark, pairs.decoded, aligned=True)
    if not place.is_dir():
        what = "the folder in which the list lies, not the list, or " if place.exists() else ""
        raise DataError(f"{place}: {what}a .bin file of pairs or the folder of a verification set expected.")
    if (place / PROTOCOL).is_dir():
        if name not in ("cfp_fp", "cfp_ff"):
            raise DataError(f'{place}: is CFP; call it cfp_fp (frontal-profile) or cfp_ff (frontal), not "{name}".')
        return _listed(name, read_cfp(place, "FP" if name == "cfp_fp" else "FF"))
    two_line_list = find_list(place)
    return _listed(name, read_lfw(place) if two_line_list is None else read_pair_files(two_line_list))


def open_pair_set(name: str, path: Path | str, size: tuple[int, int], config: EvaluationConfig) -> PairSet:
    """A verification set with its faces cut out, without a detector.

    Args:
        name, path: as `open_photographs`, which says what it raises.
        size: rows and columns of the faces.
        config: the crop, and Table 4's JPEG quality and number of pixels.
    """
    return open_photographs(name, path).cut(size, config)


def _listed(name: str, listed: Lfw | PairFolder) -> Photographs:
    """The set of a list of pairs by path; each photograph is one, however many pairs have it."""
    pairs = listed.pairs
    names = tuple(sorted({*pairs.first, *pairs.second}))
    row = {image: index for index, image in enumerate(names)}
    absent = set(listed.missing)

    def read(rows: Sequence[int] | None = None) -> Iterator[np.ndarray | None]:
        wanted = names if rows is None else [names[row] for row in rows]
        return (None if image in absent else listed.load(image) for image in wanted)

    return Photographs(
        name,
        names,
        np.array([row[image] for image in pairs.first], np.int32),
        np.array([row[image] for image in pairs.second], np.int32),
        pairs.same,
        pairs.folds,
        listed.missing,
        listed.remark,
        read,
        aligned=isinstance(listed, Lfw) and isinstance(listed.source, PreparedFaces) and listed.source.aligned,
        passed_over=listed.passed_over if isinstance(listed, Lfw) else {},
        cut_as=listed.source.cut_as if isinstance(listed, Lfw) and isinstance(listed.source, PreparedFaces) else None,
    )


def prepare_image(image: np.ndarray, size: tuple[int, int], config: EvaluationConfig) -> np.ndarray:
    """Cut the face out of a test image, at the network's size; where the config asks for it, lower its quality first.

    Table 4 of FaceNet counts pixels of face thumbnails, and compresses those: so the face is cut out at the image's own
    scale, shrunk to `pixels`, compressed at `jpeg_quality`, and brought to the network's size last.
    """
    if config.pixels == 0 and config.jpeg_quality == 0:
        return augment.crop(image, size, config.crop)
    face = augment.crop(image, _face_size(image, config), config.crop)
    return augment.crop(augment.lower_quality(face, config.pixels, config.jpeg_quality), size)


def _face_size(image: np.ndarray, config: EvaluationConfig) -> tuple[int, int]:
    """Rows and columns of the face at the image's own scale."""
    left, top, right, bottom = config.crop
    return max(1, round((bottom - top) * image.shape[0])), max(1, round((right - left) * image.shape[1]))


def unshrunk(sizes: Sequence[tuple[int, int]], pixels: int) -> str:
    """What must be said of a test on faces "shrunk" to more pixels than they have; empty where all of them shrink.

    Args:
        sizes: rows and columns of each face.
        pixels: asked for, of Table 4; 0 for as many as there are.
    """
    small = sum(rows * columns <= pixels for rows, columns in sizes)
    if pixels == 0 or small == 0:
        return ""
    largest = max(sizes, key=lambda size: size[0] * size[1])
    have = f"have no more ({largest[0]}x{largest[1]} = {largest[0] * largest[1]:,} at most)"
    if small == len(sizes):
        return f"pixels = {pixels:,} shrinks nothing: all {small:,} faces {have}, and are tested as they are"
    return f"pixels = {pixels:,} shrinks {len(sizes) - small:,} of {len(sizes):,} faces; the others have no more"


def generated_pair_set(
    identities: int,
    images_per_identity: int,
    size: tuple[int, int],
    seed: int,
    first_identity: int,
    config: EvaluationConfig,
) -> PairSet:
    """Pairs of generated faces in ten folds, of people numbered from `first_identity`.

    A generated image is square and a face already, whatever the crop of the config. It is brought to `size` as those
    of training are, its quality lowered where the config says so.
    """
    source = generated_faces(identities, images_per_identity, max(size), seed, first_identity)
    whole = replace(config, crop=augment.FULL)
    images = np.stack([prepare_image(image, size, whole) for image in source.images])  # (images, rows, columns, 3)
    pairs = generated_pairs(source, seed=seed)
    names = tuple(f"identity {first_identity + n // images_per_identity}, image {n % images_per_identity}"
                  for n in range(len(source)))
    remark = unshrunk([(max(size), max(size))] * len(images), config.pixels)
    parts = (pairs.first, pairs.second, pairs.same, pairs.fold, ())
    return PairSet(GENERATED, images, names, *parts, generated=True, remark=remark)
