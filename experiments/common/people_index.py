"""The index of enrolled people: their embeddings with names, in one file.

Not here: who is enrolled and looked for (`experiments.search`), who is taken out again (`forgetting.py`).
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facenet_jax import one_byte
from faces.errors import DataError, WeightsError
from faces.opening import parse_json
from faces.outputs import write_npz
from faces.weights import read_weights

INDEX = "index.npz"


@dataclass(frozen=True)
class Index:
    """Enrolled people.

    Args:
        embeddings: float32 (images, d), of length 1; or int8, one byte a dimension (`facenet_jax.one_byte`).
        person: number of each image's person, int64 (images,).
        people: their names.
        pictures: path of each image.
        made_by: weights, detector and preprocessing, as one line.
    """

    embeddings: np.ndarray
    person: np.ndarray
    people: tuple[str, ...]
    pictures: tuple[str, ...]
    made_by: str

    def as_stored(self, embeddings: np.ndarray) -> np.ndarray:
        """Embeddings, float32 (images, d) of length 1, as this index holds its own."""
        return one_byte.to_bytes(embeddings) if self.embeddings.dtype == np.int8 else embeddings

    def vectors(self) -> np.ndarray:
        """The embeddings that are compared, float32 (images, d) of length 1."""
        return one_byte.from_bytes(self.embeddings) if self.embeddings.dtype == np.int8 else self.embeddings


def write_index(path: Path, index: Index) -> None:
    """Write an index, whole or not at all: arrays of numbers, and the text as JSON in UTF-8."""
    text = {"people": index.people, "pictures": index.pictures, "made_by": index.made_by}
    arrays = {
        "embeddings": index.embeddings,
        "person": index.person.astype(np.int64),
        "text": np.frombuffer(json.dumps(text).encode(), np.uint8),
    }
    write_npz(path, arrays)


def read_index(path: Path) -> Index:
    """What `write_index` wrote; sizes are checked before anything is allocated.

    Raises:
        DataError: no such file, or another one.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; enrol people first.")
    try:
        stored = read_weights(path)
        if stored["text"].nbytes > path.stat().st_size:  # it is written uncompressed, and parsed takes 20 times as much
            raise ValueError("a bomb")
        text = parse_json(stored["text"].tobytes())
        index = Index(
            stored["embeddings"],
            stored["person"],
            tuple(text["people"]),
            tuple(text["pictures"]),
            text["made_by"],
        )
        rows = len(index.pictures)
        fits = (
            index.embeddings.dtype in (np.float32, np.int8)
            and index.embeddings.ndim == 2
            and bool(np.isfinite(index.embeddings).all())
            and index.person.dtype == np.int64
            and index.person.shape == (rows,)
            and len(index.embeddings) == rows > 0
            and int(index.person.min()) >= 0
            and int(index.person.max()) < len(index.people)
            and all(isinstance(name, str) for name in (*index.people, *index.pictures, index.made_by))
        )
    except (WeightsError, OSError, ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        raise DataError(f"{path}: is no index of enrolled people, or damaged; enrol anew.")
    return index
