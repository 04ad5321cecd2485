"""A list of the training images that stay, as `experiments.clean` writes it and `--only` reads it.

Not here: which images those are (`arcface_jax.sub_center`).
"""

from pathlib import Path

import numpy as np

from faces import outputs
from faces.data.fingerprint import fingerprint, from_json
from faces.data.source import FaceSource, Subset
from faces.errors import DataError
from faces.run_record import read_json

_FOREIGN = "not a list that experiments.clean has written."


def write(path: Path, source: FaceSource, kept: np.ndarray) -> None:
    """Write the list.

    Args:
        path: the file.
        source: the training set, as the run had it.
        kept: whether each image stays, bool (images,).
    """
    content = {"training_set": fingerprint(source).to_json(), "kept": np.flatnonzero(kept).tolist()}
    outputs.write_json(path, content, indent=None)


def apply(path: Path, source: FaceSource) -> FaceSource:
    """The images of a source that a list keeps, people numbered anew.

    Raises:
        DataError: no such list, or one of another training set.
    """
    content = read_json(path)
    try:
        listed, stored = content["kept"], content["training_set"]
    except (KeyError, TypeError):
        raise DataError(f"{path}: {_FOREIGN}") from None
    then, now = from_json(stored, str(path)), fingerprint(source)
    if difference := then.difference(now):
        raise DataError(
            f"{path}: made for {then.counts()} of {then.name}, and {now.name} with {now.counts()} is another set: "
            f"{difference}; give the same --data and --data.* options as the run that was cleaned."
        )
    is_list = isinstance(listed, list) and all(type(index) is int for index in listed)
    if not is_list or not listed or listed != sorted(set(listed)) or listed[0] < 0 or listed[-1] >= len(source):
        raise DataError(f"{path}: {_FOREIGN}")
    return Subset(source, np.array(listed, np.int64))
