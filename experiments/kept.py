"""A list of the training images that stay, as `experiments.clean` writes it and `--only` reads it.

Not here: which images those are (`arcface_jax.sub_center`).
"""

import json
from pathlib import Path

import numpy as np

from faces import outputs
from faces.data.source import FaceSource, Subset
from faces.errors import DataError

_FOREIGN = "not a list that experiments.clean has written."


def write(path: Path, source: FaceSource, kept: np.ndarray) -> None:
    """Write the list.

    Args:
        path: the file.
        source: the training set, as the run had it.
        kept: whether each image stays, bool (images,).
    """
    content = {"training_set": source.name, "images": len(source), "kept": np.flatnonzero(kept).tolist()}
    outputs.write_text(path, json.dumps(content) + "\n")


def apply(path: Path, source: FaceSource) -> FaceSource:
    """The images of a source that a list keeps, people numbered anew.

    Raises:
        DataError: no such list, or one of another training set.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        images, listed = content["images"], content["kept"]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError(f"{path}: {_FOREIGN}") from None
    if images != len(source):
        raise DataError(f"{path}: made for a training set of {images} images, and {source.name} has {len(source)}; "
                        "give the same --data and --data.* options as the run that was cleaned.")  # fmt: skip
    is_list = isinstance(listed, list) and all(type(index) is int for index in listed)
    if not is_list or not listed or listed != sorted(set(listed)) or listed[0] < 0 or listed[-1] >= images:
        raise DataError(f"{path}: {_FOREIGN}")
    return Subset(source, np.array(listed, np.int64))
