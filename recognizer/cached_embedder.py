"""A model's embeddings of aligned images, with those computed before.

Not here: the images (`pipeline.py`), the function that embeds them (`model.py`).
"""

import hashlib
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from faces.cache import Cache, digest_of
from faces.embed import BLOCK
from faces.mesh import make_mesh
from faces.terminal import make_progress
from recognizer.model import Model, embedder_of


class CachedEmbedder:
    """A model's embeddings, with those computed before; of length 1 unless `unit` is False."""

    def __init__(self, model: Model, cache: Path, unit: bool = True):
        seen = model.preprocessing
        what = f"{model.description.origin.sha256} {model.name} {seen.channels} {seen.mean} {seen.scale} {seen.flip}"
        what += f" {seen.illumination}" if seen.illumination else ""
        d = model.description.network.embedding_dim * (2 if seen.flip == "concatenate" else 1)
        what += "" if unit else " as long as the network gives them"
        self._cache = Cache(cache / f"embeddings-{hashlib.sha256(what.encode()).hexdigest()[:16]}.npz", d)
        self._embed = embedder_of(model, make_mesh(), unit)
        self._images, self._seconds = 0, 0.0

    @property
    def images(self) -> int:
        """How many were computed now."""
        return self._images

    def reread(self) -> None:
        """Take in what other programs have added to the cache since."""
        self._cache.reread()

    @property
    def images_per_second(self) -> float | None:
        """Of those that were computed now, compilation included; None if the cache had all."""
        return self._images / self._seconds if self._images else None

    def __call__(self, images: np.ndarray, console: Console) -> np.ndarray:
        """Aligned images, uint8 (n, rows, columns, 3) -> float32 (n, d)."""
        keys = [digest_of(image) for image in images]
        new = list({key: row for row, key in enumerate(keys) if self._cache.get(key) is None}.values())
        try:
            with make_progress(console) as bar:
                task = bar.add_task("embedding", total=len(new))
                for start in range(0, len(new), 8 * BLOCK):
                    rows = new[start : start + 8 * BLOCK]
                    before = time.perf_counter()
                    for row, embedding in zip(rows, self._embed(images[rows]), strict=True):
                        self._cache.put(keys[row], embedding)
                    self._seconds += time.perf_counter() - before
                    self._images += len(rows)
                    bar.advance(task, len(rows))
        finally:
            self._cache.save()
        if keys and not new:
            console.print(f"embeddings of {len(keys):,} pictures are from the cache")
        return np.stack([self._cached(key) for key in keys])

    def _cached(self, key: bytes) -> np.ndarray:
        vector = self._cache.get(key)
        assert vector is not None  # put there above
        return vector
