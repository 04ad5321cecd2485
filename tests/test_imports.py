"""What a program gets by `import facenet_jax` and `import arcface_jax`: names, and nothing that happens."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import arcface_jax
import facenet_jax

QUIET = """
import os, sys, threading
before, threads = dict(os.environ), threading.active_count()
import {package}
assert dict(os.environ) == before and threading.active_count() == threads
import jax
assert not jax._src.xla_bridge.backends_are_initialized()
slow = {{"grain", "orbax", "tensorflow_datasets", "matplotlib", "tyro", "scipy.stats", "cv2", "PIL"}}
assert not slow & set(sys.modules), slow & set(sys.modules)
"""


@pytest.mark.parametrize("package", [facenet_jax, arcface_jax])
def test_all_names_are_there(package):
    assert len(set(package.__all__)) == len(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None


@pytest.mark.parametrize("package", ["facenet_jax", "arcface_jax"])
def test_an_import_starts_nothing(package):
    """No process, thread, device or flag, and none of the libraries that only the commands need."""
    done = subprocess.run(
        [sys.executable, "-c", QUIET.format(package=package)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_masked_mean():
    values, mask = jnp.asarray([[1.0, jnp.nan], [3.0, 5.0]]), jnp.asarray([[True, False], [True, False]])
    assert facenet_jax.masked_mean(values, mask) == 2.0
    assert facenet_jax.masked_mean(values, jnp.zeros_like(mask)) == 0.0
    np.testing.assert_array_equal(jax.grad(facenet_jax.masked_mean)(values, mask), [[0.5, 0], [0.5, 0]])
