"""The cache by content: found again after a restart, never by anything but the content, whole or not there."""

from pathlib import Path

import numpy as np
import pytest

from faces.cache import Cache, digest_of
from faces.errors import DataError

IMAGE = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


def test_keys_differ_by_content_shape_and_dtype():
    others = [IMAGE.reshape(4, 2, 3), IMAGE.astype(np.int8), IMAGE + np.uint8(1), IMAGE[::-1]]
    keys = {digest_of(array) for array in [IMAGE, *others]}
    assert len(keys) == 5 and all(len(key) == 32 for key in keys)
    assert digest_of(np.asfortranarray(IMAGE)) == digest_of(IMAGE)


def test_vectors_of_all_lengths_come_back(tmp_path: Path):
    path = tmp_path / "new" / "cache.npz"
    vectors = {bytes([n] * 32): np.random.default_rng(n).normal(size=n).astype(np.float32) for n in (3, 0, 128, 1)}
    cache = Cache(path)
    for key, vector in vectors.items():
        cache.put(key, vector)
    assert not path.exists()
    cache.save()
    assert [file.name for file in path.parent.iterdir()] == ["cache.npz"]
    again = Cache(path)
    assert len(again) == 4 and again.get(b"9" * 32) is None
    for key, vector in vectors.items():
        np.testing.assert_array_equal(again.get(key), vector)
    before = path.stat().st_mtime_ns
    again.save()
    assert path.stat().st_mtime_ns == before  # nothing new
    again.put(b"9" * 32, np.ones(2))
    again.save()
    assert len(Cache(path)) == 5


def test_an_empty_cache_is_no_file(tmp_path: Path):
    Cache(tmp_path / "cache.npz").save()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["text", "cut", "pickle", "other arrays", "lengths"])
def test_what_is_no_cache(tmp_path: Path, kind: str):
    path = tmp_path / "cache.npz"
    cache = Cache(path)
    cache.put(bytes(32), np.ones(5))
    cache.save()
    whole = path.read_bytes()
    keys, values = np.zeros((1, 32), np.uint8), np.ones(5, np.float32)
    if kind == "text":
        path.write_text("keys, lengths, values")
    elif kind == "cut":
        path.write_bytes(whole[:-30])
    elif kind == "pickle":
        np.savez(path, keys=keys, lengths=np.array([5]), values=np.array([None] * 5))
    elif kind == "other arrays":
        np.savez(path, keys=keys)
    else:
        np.savez(path, keys=keys, lengths=np.array([6]), values=values)
    with pytest.raises(DataError, match=r"cache\.npz: not a cache that was written here"):
        Cache(path)
