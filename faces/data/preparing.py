"""Writing a prepared dataset: every image of a source is decoded, checked, cropped if asked, and stored with its label.

An image that cannot be decoded goes to quarantine: it is left out, and named with the reason in `quarantine.csv`, as
are those that were left out before. The folder is written under another name and renamed at the end: it is whole or it
is not there.

Not here: the layout of the folder and reading it (`prepared.py`), the command (`experiments/prepare.py`).
"""

import csv
import json
import os
import shutil
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.proto import tf_example_pb2

from faces.data.chunks import Budget
from faces.data.images import declared_pixels, encode_png, stored_encoding
from faces.data.prepared import MANIFEST, EncodedSource
from faces.errors import DataError, ImageError, OutputError
from faces.outputs import results_folder
from faces.refused import writing

SHARD_BYTES = 2**30
WINDOW = 256
WINDOW_BYTES = 2**27
"""Encoded images in memory at a time: so many, and no more are begun while they have so many bytes."""
Box = tuple[int, int, int, int]

FEATURES = tfds.features.FeaturesDict(
    {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "identity": tfds.features.Scalar(np.int32),
        "identity_name": tfds.features.Text(),
        "source": tfds.features.Text(),
    }
)


@dataclass(frozen=True)
class Summary:
    """What came of preparing a source.

    Args:
        images_per_identity: int64 (identities,), by label.
        quarantined: (path or key, reason) of each image that was left out.
        sizes: (height, width) of the good images before they were cropped or resized, and how many have it.
    """

    images_per_identity: np.ndarray
    quarantined: list[tuple[str, str]]
    sizes: Counter[tuple[int, int]]


def write_prepared(
    source: EncodedSource,
    out: Path,
    *,
    crop: Box | None = None,
    size: int | None = None,
    pair_lists: Sequence[Path] = (),
    aligned: bool = False,
    cut_as: Mapping[str, Any] | None = None,
    left_out: Sequence[tuple[str, str]] = (),
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda images: None,
    finish: Callable[[Path], None] = lambda folder: None,
) -> Summary:
    """Write a source as a prepared dataset.

    Images that cannot be decoded, or that `crop` does not fit in, are quarantined: named in `quarantine.csv` and left
    out. Labels are numbered in the order in which identities first appear with a good image. Cropped or resized images
    are stored as PNG.

    Args:
        source: images and labels.
        out: the folder to make. It must be absent or empty, or hold results of a command with `overwrite`.
        crop: (left, top, right, bottom) in pixels, right and bottom exclusive; the part of each image to keep.
        size: side of the square that the central square of each image is then resized to.
        pair_lists: files to keep beside the images, such as LFW's pairs.txt.
        aligned: whether the images are faces already, which evaluation takes whole.
        cut_as: how they were found and cut out, as JSON holds it; None where that is not known.
        left_out: (path or key, reason) of images that are in quarantine already, and not in `source`.
        overwrite: replace what is there.
        progress: called with the number of images done, now and then.
        finish: called with the folder when the set is whole, before it takes its place; adds what belongs beside it.

    Raises:
        DataError: fewer than two identities have a good image. Nothing is left behind.
        OutputError: `out` may not be written, or holds something else. Nothing is left behind either.
    """
    _refuse_single(source.name, len(np.unique(source.identities)))
    with results_folder(out, overwrite) as partial, writing(out):
        label_of: dict[int, int] = {}  # identity in the source -> label
        identities: list[int] = []
        quarantined = list(left_out)
        sizes = Counter[tuple[int, int]]()
        with _RecordWriter(partial) as writer:
            for index, result in enumerate(_encode_all(source, crop, size, sizes, progress)):
                name = source.source_name(index)
                if isinstance(result, ImageError):
                    quarantined.append((name, str(result).removeprefix(f"{name}: ")))
                    continue
                identity = int(source.identities[index])
                label = label_of.setdefault(identity, len(label_of))
                identity_name = source.identity_names[identity]
                writer.write({"image": result, "identity": label, "identity_name": identity_name, "source": name})
                identities.append(label)
        if quarantined and not identities:
            count, first = len(source) + len(left_out), ": ".join(quarantined[0])
            raise DataError(f"{source.name}: none of its {count} images is usable, {first}")
        _refuse_single(source.name, len(label_of))
        np.save(partial / "identities.npy", np.array(identities, np.int32), allow_pickle=False)  # (images,)
        names = [source.identity_names[identity] for identity in label_of]
        (partial / "identity_names.json").write_text(json.dumps(names, ensure_ascii=False), "utf-8")
        with (partial / "quarantine.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("source", "reason"), *quarantined])
        for pair_list in pair_lists:
            shutil.copyfile(pair_list, partial / pair_list.name)
        manifest = {"images": len(identities), "identities": len(names), "crop": crop, "size": size, "aligned": aligned}
        if cut_as is not None:
            manifest["cut_as"] = cut_as
        (partial / MANIFEST).write_text(json.dumps(manifest) + "\n", "utf-8")
        finish(partial)
    return Summary(np.bincount(identities), quarantined, sizes)


def _refuse_single(name: str, identities: int) -> None:
    if identities < 2:
        raise DataError(f"{name}: usable images of {identities} person; a dataset needs faces of at least two people.")


def _encode_all(
    source: EncodedSource,
    crop: Box | None,
    size: int | None,
    sizes: Counter[tuple[int, int]],
    progress: Callable[[int], None],
) -> Iterator[bytes | ImageError]:
    """Bytes to store for each image, or why it is refused; `sizes` counts those of the images as they come."""

    budget, lock = Budget(), threading.Lock()
    held = 0  # bytes of images that are encoded and not written yet

    def encode(index: int) -> bytes | ImageError:
        nonlocal held
        name = source.source_name(index)
        try:
            given = source.encoded(index)
            with budget.of(declared_pixels(given)):
                data, pixels = stored_encoding(given, name)
                cut = _cut(pixels, crop, size, name)
                encoded = data if cut is pixels else encode_png(cut)
        except ImageError as error:
            return error
        with lock:
            held += len(encoded)
            sizes[pixels.shape[0], pixels.shape[1]] += 1
        return encoded

    def next_one() -> bytes | ImageError:
        nonlocal held
        result = waiting.popleft().result()
        if isinstance(result, bytes):
            with lock:
                held -= len(result)
        return result

    waiting: deque[Future[bytes | ImageError]] = deque()
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for index in range(len(source)):
            while len(waiting) >= WINDOW or (waiting and held > WINDOW_BYTES):
                yield next_one()
                progress(index - len(waiting))
            waiting.append(pool.submit(encode, index))
        while waiting:
            yield next_one()
            progress(len(source) - len(waiting))
    finally:
        pool.shutdown(cancel_futures=True)


def _cut(pixels: np.ndarray, crop: Box | None, size: int | None, name: str) -> np.ndarray:
    """The part of an image to keep, resized; the array itself where nothing is asked for."""
    height, width = pixels.shape[:2]
    if crop is not None and crop != (0, 0, width, height):
        left, top, right, bottom = crop
        if right > width or bottom > height:
            raise ImageError(f"{name}: the crop to {right}, {bottom} does not fit in {width}x{height} pixels.")
        pixels = pixels[top:bottom, left:right]
    if size is not None and pixels.shape[:2] != (size, size):
        height, width = pixels.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = np.ascontiguousarray(pixels[top : top + side, left : left + side])
        filter_ = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
        pixels = cv2.resize(square, (size, size), interpolation=filter_)
    return pixels


def in_one_order(record: bytes) -> bytes:
    """A record with its features in one order; by itself each process chooses another, and no two sets are the same."""
    written = tf_example_pb2.Example.FromString(record)  # pyright: ignore[reportAttributeAccessIssue]
    return written.SerializeToString(deterministic=True)


class _RecordWriter:
    """ArrayRecord shards and the metadata that makes them a TFDS dataset."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._parts: list[Path] = []
        self._lengths: list[int] = []
        self._bytes = 0
        self._room = 0
        self._writer: Any = None  # of a native class without type stubs

    def __enter__(self):
        return self

    def write(self, example: dict) -> None:
        if self._writer is None or self._room <= 0:
            self._writer = self._next_shard()
        record = in_one_order(FEATURES.serialize_example(FEATURES.encode_example(example)))
        with _writing(self._folder.parent):
            self._writer.write(record)
        self._lengths[-1] += 1
        self._bytes += len(record)
        self._room -= len(record)

    def _next_shard(self) -> ArrayRecordWriter:
        self._close()
        self._parts.append(self._folder / f"part-{len(self._parts)}")
        self._lengths.append(0)
        self._room = SHARD_BYTES
        return ArrayRecordWriter(str(self._parts[-1]), "group_size:1")  # one record a group: random access

    def _close(self) -> None:
        if self._writer is not None:
            with _writing(self._folder.parent):
                self._writer.close()
            self._writer = None

    def __exit__(self, error, *_) -> None:
        if error is not None:
            return
        self._close()
        if not self._parts:
            return
        template = tfds.core.ShardedFileTemplate(
            data_dir=tfds.core.Path(self._folder),
            dataset_name="labelled_faces",
            split="train",
            filetype_suffix="array_record",
        )
        for i, part in enumerate(self._parts):
            part.rename(template.sharded_filepath(shard_index=i, num_shards=len(self._parts)))
        split = tfds.core.SplitInfo(
            name="train", shard_lengths=self._lengths, num_bytes=self._bytes, filename_template=template
        )
        tfds.folder_dataset.write_metadata(
            data_dir=self._folder, features=FEATURES, split_infos=[split], filename_template=template, check_data=False
        )


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """ArrayRecord reports a full disk as a RuntimeError, and so everything else."""
    try:
        with writing(folder):
            yield
    except RuntimeError as error:
        raise OutputError(f"{folder}: records cannot be written ({error}).") from None
