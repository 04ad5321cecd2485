"""The composition of batches: the rule for small identities, negatives, and what the order depends on."""

import numpy as np
import pytest

from facenet_jax.sampling import epoch_order
from faces.errors import DataError

# Identity 0 has 1 image, 1 has 2, ... 11 has 12: no two alike.
IDENTITIES = np.random.default_rng(0).permutation(np.repeat(np.arange(12), np.arange(1, 13))).astype(np.int32)


@pytest.mark.parametrize("seed", range(3))
def test_an_epoch_takes_at_most_k_of_each_and_repeats_none(seed: int):
    order = epoch_order(IDENTITIES, 10, 5, 0, seed, epoch=0)
    assert len(np.unique(order)) == order.size
    counts = np.bincount(IDENTITIES[order.ravel()], minlength=12)
    available = np.minimum(np.arange(1, 13), 5)
    available[0] = 0  # a single image makes no pair
    assert (counts <= available).all()
    assert order.shape == (available.sum() // 10, 10)
    assert counts.sum() >= available.sum() - 9  # only the tail, less than a batch, is left out


def test_identities_of_a_batch_stand_together():
    for row in epoch_order(IDENTITIES, 10, 5, 0, seed=1, epoch=0):
        labels = IDENTITIES[row]
        assert 1 + np.count_nonzero(np.diff(labels)) == len(np.unique(labels))


def test_random_negatives_come_last_and_are_not_in_the_batch_yet():
    order = epoch_order(IDENTITIES, 12, 5, 4, seed=0, epoch=0)
    assert order.shape[1] == 12
    drawn = order[:, 8:]
    for row in order:
        assert len(np.unique(row)) == 12
    assert (IDENTITIES[drawn] == 0).any() or len(np.unique(drawn)) > 4  # from the whole set
    many = np.concatenate([epoch_order(IDENTITIES, 12, 5, 4, seed=0, epoch=e)[:, 8:].ravel() for e in range(60)])
    assert set(many) == set(range(len(IDENTITIES)))  # every image is drawn at times, single ones too


def test_order_depends_on_seed_and_epoch_alone():
    first = epoch_order(IDENTITIES, 10, 5, 2, seed=0, epoch=3)
    np.testing.assert_array_equal(first, epoch_order(IDENTITIES, 10, 5, 2, seed=0, epoch=3))
    assert (first != epoch_order(IDENTITIES, 10, 5, 2, seed=0, epoch=4)).any()
    assert (first != epoch_order(IDENTITIES, 10, 5, 2, seed=1, epoch=3)).any()


def test_too_little_data_is_refused():
    with pytest.raises(DataError, match="single identity"):
        epoch_order(np.zeros(40, np.int32), 10, 5, 0, 0, 0)
    with pytest.raises(DataError, match=r"lower batch\.images"):
        epoch_order(IDENTITIES, 70, 5, 0, 0, 0)
