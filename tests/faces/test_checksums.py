"""Files that are not as they were written, and arrays that are not as they were saved."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faces import checksums
from faces.mesh import make_mesh, replicated, sharded


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    folder = tmp_path / "sealed"
    (folder / "a" / "b").mkdir(parents=True)
    for name in ("one", "a/two", "a/b/three"):
        (folder / name).write_bytes(np.random.default_rng(len(name)).bytes(12))
    checksums.seal(folder)
    return folder


def test_every_bit_of_a_file_counts(sealed: Path):
    assert checksums.damage(sealed) == ""
    for file in filter(Path.is_file, sealed.rglob("*")):
        content = file.read_bytes()
        for changed in (b"", content[: len(content) // 2], content + b"\n", content[:-1]):
            file.write_bytes(changed)
            assert checksums.damage(sealed)
        for bit in range(0, 8 * len(content), 1 if len(content) < 50 else 7):
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << bit % 8
            file.write_bytes(flipped)
            assert checksums.damage(sealed), (file, bit)
        file.unlink()
        assert "missing" in checksums.damage(sealed) or file.name == checksums.SUMS
        file.write_bytes(content)
    assert checksums.damage(sealed) == ""


def test_what_else_lies_there(sealed: Path):
    (sealed / "a" / ".DS_Store").write_bytes(b"x")
    assert checksums.damage(sealed) == ""
    (sealed / "a" / "more").symlink_to(sealed)
    assert checksums.damage(sealed) == "a/more does not belong there"
    (sealed / "a" / "more").unlink()
    (sealed / "a" / "two").unlink()
    os.mkfifo(sealed / "a" / "two")  # never opened: a reader would wait for ever
    assert checksums.damage(sealed) == "a/two cannot be read (a named pipe and no file)"


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_the_sum_of_an_array_does_not_depend_on_its_devices(devices: int):
    rng = np.random.default_rng(0)
    rows, vector = rng.normal(size=(16, 3, 2)).astype(np.float32), rng.integers(0, 9, 8).astype(np.int32)
    tree = {"rows": rows, "vector": vector, "one": np.float32(2), "none": np.zeros((0, 3), np.float32)}
    expected = checksums.of_arrays(tree, together=False)
    assert expected["rows"].startswith("float32 16x3x2 ") and expected["one"].startswith("float32 1 ")
    mesh = make_mesh(devices)
    placed = {**jax.device_put({name: tree[name] for name in ("one", "none")}, replicated(mesh)),
              **jax.device_put({"rows": rows, "vector": vector}, sharded(mesh))}  # fmt: skip
    assert checksums.of_arrays(placed, together=True) == expected
    assert checksums.of_arrays(jax.device_put(tree, replicated(mesh)), together=True) == expected


def test_the_sum_of_an_array_depends_on_every_value_and_its_place():
    rows = np.arange(12.0, dtype=np.float32).reshape(4, 3)
    others = [rows[::-1], rows[:, ::-1], rows.reshape(3, 4), rows.ravel(), rows.astype(np.float64), rows[:3]]
    for value in range(12):
        for bit in range(32):
            flipped = rows.copy()
            flipped.view(np.uint32)[divmod(value, 3)] ^= np.uint32(1 << bit)
            others += [flipped, flipped.ravel()]
    sums = {checksums.of_arrays({"a": one}, together=False)["a"] for one in [rows, *others]}
    assert len(sums) == 1 + len(others)


def test_random_keys_and_narrow_types():
    sums = checksums.of_arrays({"key": jax.random.key(3), "b": jnp.ones((2, 3), jnp.bfloat16)}, together=True)
    assert sums["key"].startswith("uint32 2 ") and sums["b"].startswith("bfloat16 2x3 ")
