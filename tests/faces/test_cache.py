"""The cache by content: found again after a restart, never by anything but the content, whole or not there."""

import subprocess
import sys
import tracemalloc
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


def test_programs_that_share_a_cache_keep_what_each_has_added(tmp_path: Path):
    path = tmp_path / "cache.npz"
    one, two = Cache(path), Cache(path)
    one.put(b"1" * 32, np.ones(3))
    two.put(b"2" * 32, np.ones(2))
    one.save()
    two.save()
    assert len(Cache(path)) == len(two) == 2 and Cache(path).get(b"1" * 32) is not None
    path.write_bytes(b"damaged meanwhile")
    one.put(b"3" * 32, np.ones(1))
    one.save()
    assert len(Cache(path)) == 2 and [file.name for file in tmp_path.iterdir()] == ["cache.npz"]


def test_programs_that_save_at_the_same_time(tmp_path: Path):
    """Nothing that any of them has computed is lost, and who reads meanwhile never sees half a file."""
    path, writers, rounds = tmp_path / "cache.npz", 4, 12
    code = f"""
import sys
from pathlib import Path
import numpy as np
from faces.cache import Cache
number, cache = int(sys.argv[1]), Cache(Path({str(path)!r}))
for turn in range({rounds}):
    cache.put(bytes([number, turn] * 16), np.full(1000, number))
    cache.save()
"""
    programs = [subprocess.Popen([sys.executable, "-c", code, str(number)]) for number in range(writers)]
    while any(program.poll() is None for program in programs):
        Cache(path)
    assert [program.wait() for program in programs] == [0] * writers
    cache = Cache(path)
    assert len(cache) == writers * rounds and [file.name for file in tmp_path.iterdir()] == ["cache.npz"]
    for number in range(writers):
        np.testing.assert_array_equal(cache.get(bytes([number, rounds - 1] * 16)), np.full(1000, number, np.float32))


def test_an_empty_cache_is_no_file(tmp_path: Path):
    Cache(tmp_path / "cache.npz").save()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["text", "cut", "pickle", "other arrays", "lengths", "rows"])
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
    if kind == "rows":
        np.savez(path, keys=keys, lengths=np.array([5]), values=values)
        assert len(Cache(path, 5)) == 1
    with pytest.raises(DataError, match=r"cache\.npz: not a cache that was written here"):
        Cache(path, 2 if kind == "rows" else 1)


def test_no_flipped_bit_gives_other_vectors(tmp_path: Path):
    rng, path = np.random.default_rng(0), tmp_path / "cache.npz"
    cache = Cache(path)
    for _ in range(4):
        cache.put(rng.bytes(32), rng.normal(size=8).astype(np.float32))
    cache.save()
    content, refused = path.read_bytes(), 0
    for _ in range(200):
        flipped = bytearray(content)
        flipped[rng.integers(len(flipped))] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            read = Cache(path)
        except DataError:
            refused += 1
        else:  # a bit of the zip's headers that nobody needs
            for key, vector in cache._vectors.items():
                np.testing.assert_array_equal(read.get(key), vector)
    assert refused > 150


@pytest.mark.parametrize("bomb", ["unpacks", "declares"])
def test_bombs_are_refused_before_they_take_memory(tmp_path: Path, bomb: str):
    """Some kilobytes that unpack to 32 MB, or say that 8 GB follow."""
    path = tmp_path / "cache.npz"
    head = {"keys": np.zeros((1, 32), np.uint8), "lengths": np.array([1 << 23])}
    if bomb == "unpacks":
        np.savez_compressed(path, **head, values=np.zeros(1 << 23, np.float32))
    else:
        np.savez(path, **head, values=np.ones(4, np.float32))
        path.write_bytes(path.read_bytes().replace(b"'shape': (4,), }         ", b"'shape': (2147483648,), }"))
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(DataError, match="not a cache that was written here, or damaged"):
        Cache(path)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
