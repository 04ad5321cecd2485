"""One byte a dimension, against loops and against the bound that the rounding gives."""

import math

import numpy as np
import pytest

from facenet_jax import one_byte


def unit(seed: int, images: int, d: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(images, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("images", "d"), [(5, 3), (7, 128), (3, 512)])
def test_as_loops_have_it(images: int, d: int):
    x = unit(d, images, d)
    stored, back = one_byte.to_bytes(x), one_byte.from_bytes(one_byte.to_bytes(x))
    assert stored.dtype == np.int8 and stored.nbytes == images * d
    assert back.dtype == np.float32
    for row, bytes_of_row, given in zip(x, stored, back, strict=True):
        largest = max(abs(float(value)) for value in row)
        expected = [round(127 * float(value) / largest) for value in row]
        assert bytes_of_row.tolist() == expected
        length = math.sqrt(sum(value * value for value in expected))
        np.testing.assert_allclose(given, [value / length for value in expected], atol=1e-7)


def test_a_worked_case():
    stored = one_byte.to_bytes(np.array([[0.6, -0.8, 0.0], [0.0, 0.0, 0.0], [3e-8, 0.0, -3e-8]], np.float32))
    np.testing.assert_array_equal(stored, [[95, -127, 0], [0, 0, 0], [127, 0, -127]])
    np.testing.assert_allclose(one_byte.from_bytes(stored)[1], 0)
    assert np.linalg.norm(one_byte.from_bytes(stored), axis=1).tolist() == pytest.approx([1, 0, 1])


@pytest.mark.parametrize("d", [64, 128, 512])
def test_length_does_not_matter_and_the_angle_is_small(d: int):
    x = unit(3, 200, d)
    np.testing.assert_array_equal(one_byte.to_bytes(x), one_byte.to_bytes(x * np.float32(32)))
    cosine = np.einsum("nd,nd->n", one_byte.from_bytes(one_byte.to_bytes(x)).astype(np.float64), x)
    turned = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    expected = np.degrees(np.sqrt(d / 12) * np.abs(x).max(axis=1) / 127)
    np.testing.assert_allclose(turned.mean(), expected.mean(), rtol=0.1)


def test_stored_twice_is_stored_once():
    stored = one_byte.to_bytes(unit(5, 50, 128))
    np.testing.assert_array_equal(one_byte.to_bytes(one_byte.from_bytes(stored)), stored)
