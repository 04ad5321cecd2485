"""The order of an epoch: everything once, people together, and what it depends on."""

import numpy as np
import pytest

from faces.data import order
from faces.errors import DataError

IDENTITIES = np.random.default_rng(0).permutation(np.repeat(np.arange(12), np.arange(1, 13))).astype(np.int32)


def test_shuffled_shows_each_image_once_and_all_over_the_epochs():
    epochs = [order.shuffled(53, 10, seed=3, epoch=epoch) for epoch in range(30)]
    for rows in epochs:
        assert rows.shape == (5, 10) and len(np.unique(rows)) == 50
    assert set(np.concatenate(epochs).ravel()) == set(range(53))
    np.testing.assert_array_equal(epochs[4], order.shuffled(53, 10, seed=3, epoch=4))
    assert (epochs[4] != epochs[5]).any() and (epochs[4] != order.shuffled(53, 10, seed=4, epoch=4)).any()
    with pytest.raises(DataError, match=r"9 images; a batch of 10.*batch\.images"):
        order.shuffled(9, 10, 0, 0)


def test_people_together():
    stream = order.people_together(IDENTITIES, 5, np.random.default_rng(0))
    labels = IDENTITIES[stream]
    assert len(np.unique(stream)) == len(stream)
    assert 1 + np.count_nonzero(np.diff(labels)) == 11  # everyone but the person with a single image, in one piece
    np.testing.assert_array_equal(np.bincount(labels, minlength=12), [0, *np.minimum(np.arange(2, 13), 5)])


def test_nothing_to_put_together():
    with pytest.raises(DataError, match="single identity"):
        order.people_together(np.zeros(8, np.int32), 4, np.random.default_rng(0))
    singles = order.people_together(np.arange(8), 4, np.random.default_rng(0))
    with pytest.raises(DataError, match=r"gives 0 images of pairs; a batch of 4"):
        order.into_batches(singles, 4, "images of pairs")


def test_into_batches_drops_the_rest():
    np.testing.assert_array_equal(order.into_batches(np.arange(11), 4, ""), [[0, 1, 2, 3], [4, 5, 6, 7]])
