"""Batches hold every image once, whole, in few shapes."""

import threading

import numpy as np
import pytest

from faces.detect.buckets import AT_ONCE, Batch, batches, of_each_image, rounded_up


def test_sides():
    assert [rounded_up(side) for side in (1, 64, 65, 129, 250, 256, 257, 385, 513, 769, 1025, 5000)] == [
        64, 64, 128, 192, 256, 256, 384, 512, 768, 1024, 1536, 6144,
    ]  # fmt: skip
    every = np.array([rounded_up(side) for side in range(1, 8193)])
    assert len(set(every.tolist())) == 14
    assert (every >= np.arange(1, 8193)).all() and not (every % 32).any()
    assert (every[256:] < 1.5 * np.arange(257, 8193)).all()


def test_every_image_is_in_one_batch():
    rng = np.random.default_rng(0)
    sizes = [(1, 1), (64, 64), (65, 3), (40, 50), (2, 128), (100, 1), *[(30, 30)] * 9]
    images = [rng.integers(1, 256, (*size, 3), np.uint8) for size in sizes]
    seen = []
    for batch in batches(images, pixels_at_once=4 * 64 * 64):
        rows, height, width, _ = batch.pixels.shape
        assert rows in (1, 4) and rows * height * width <= 4 * 64 * 64
        assert len(batch.indices) <= len(batch.sizes) == rows < 2 * len(batch.indices)
        assert not batch.sizes[len(batch.indices) :].any()
        for row, index in enumerate(batch.indices):
            assert tuple(batch.sizes[row]) == sizes[index]
            expected = np.zeros((height, width, 3), np.uint8)
            expected[: sizes[index][0], : sizes[index][1]] = images[index]
            np.testing.assert_array_equal(batch.pixels[row], expected)
        seen += batch.indices
    assert sorted(seen) == list(range(len(images)))


def test_numbers_of_images_are_powers_of_four():
    image = np.ones((9, 9, 3), np.uint8)
    for images, expected in (
        (1, [1]),
        (2, [1, 1]),
        (3, [4]),
        (8, [4, 4]),
        (9, [16]),
        (17, [16, 1]),
        (64, [64]),
        (200, [64, 64, 64, 4, 4]),
    ):
        assert [len(batch.pixels) for batch in batches([image] * images, 70 * 64 * 64)] == expected


def test_an_image_above_the_limit_comes_alone():
    images = [np.ones((70, 70, 3), np.uint8)] * 3
    assert [batch.pixels.shape for batch in batches(images, pixels_at_once=1)] == [(1, 128, 128, 3)] * 3


def test_results_come_in_the_order_of_the_images():
    images = [np.full((side, side, 3), n, np.uint8) for n, side in enumerate([9, 70, 9, 200, 9, 70, 9, 9, 9, 9], 1)]

    def work(batch: Batch) -> list[int]:
        return [int(batch.pixels[row, 0, 0, 0]) for row in range(len(batch.indices))]

    assert of_each_image(work, images, pixels_at_once=4 * 64 * 64) == list(range(1, 11))
    assert of_each_image(work, [], pixels_at_once=1) == []


def test_two_batches_are_worked_on_at_the_same_time():
    together = threading.Barrier(AT_ONCE, timeout=30)  # broken, were they worked on one after the other

    def work(batch: Batch) -> list[int]:
        together.wait()
        return batch.indices

    images = [np.ones((9, 9, 3), np.uint8)] * (2 * AT_ONCE)
    assert of_each_image(work, images, pixels_at_once=1) == list(range(2 * AT_ONCE))


def test_what_goes_wrong_in_a_batch_reaches_the_caller():
    def work(batch: Batch) -> list[int]:
        if 3 in batch.indices:
            raise ZeroDivisionError("image 3")
        return batch.indices

    with pytest.raises(ZeroDivisionError, match="image 3"):
        of_each_image(work, [np.ones((9, 9, 3), np.uint8)] * 6, pixels_at_once=1)
