"""Pairs of anybody's people: balanced, of folds that share nobody, no pair twice, the same from the same seed."""

import numpy as np
import pytest

from faces.data.pair_draw import draw_pairs, sound_pairs
from faces.data.source import ArraySource
from faces.errors import DataError, ImageError


def people(*counts: int) -> np.ndarray:
    """Identities of people with so many images each, in an order that is not theirs."""
    labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return np.random.default_rng(1).permutation(labels)


@pytest.mark.parametrize(
    ("counts", "folds", "n"),
    [
        ((6,) * 40, None, None),
        ((2, 63, 1, 1, 3, 2, 5, 1, 2), None, None),
        ((2, 2, 1, 1), 2, 1),
        ((4,) * 10, 5, 7),
        ((30,) * 4, None, None),
    ],
)
@pytest.mark.parametrize("seed", [0, 7])
def test_laws_of_a_list(counts, folds, n, seed):
    identities = people(*counts)
    drawn = draw_pairs(identities, "set", folds, n, seed)
    a, b = identities[drawn.first], identities[drawn.second]
    assert len(a) == drawn.folds * 2 * drawn.n and (folds or drawn.folds) == drawn.folds and (n or drawn.n) == drawn.n
    is_same = np.tile(np.repeat([True, False], drawn.n), drawn.folds)
    np.testing.assert_array_equal(a == b, is_same)
    assert (drawn.first != drawn.second).all()
    pairs = {frozenset(pair) for pair in zip(drawn.first.tolist(), drawn.second.tolist(), strict=True)}
    assert len(pairs) == len(a)
    fold = np.repeat(np.arange(drawn.folds), 2 * drawn.n)
    seen = [set(np.concatenate([a[fold == one], b[fold == one]]).tolist()) for one in range(drawn.folds)]
    assert sum(map(len, seen)) == len(set().union(*seen))
    again = draw_pairs(identities, "set", folds, n, seed)
    np.testing.assert_array_equal(drawn.first, again.first)
    other = draw_pairs(identities, "set", folds, n, seed + 1)
    assert len(identities) < 10 or not np.array_equal(drawn.first, other.first)


def test_who_has_many_images_does_not_fill_the_list():
    identities = people(60, *(2,) * 19)
    drawn = draw_pairs(identities, "set", 2, 10)
    same = identities[drawn.first[identities[drawn.first] == identities[drawn.second]]]
    assert np.bincount(same).max() <= 2


@pytest.mark.parametrize(
    ("counts", "folds", "n", "words"),
    [
        ((5,), None, None, "too few for 2 folds"),
        ((1, 1, 1, 1), None, None, "0 of them with two images"),
        ((5, 5, 5, 5), 3, None, "too few for 3 folds"),
        ((2, 2, 2, 2), 2, 3, "have 2; ask for fewer"),
    ],
)
def test_too_few_people(counts, folds, n, words):
    with pytest.raises(DataError, match=words):
        draw_pairs(people(*counts), "set", folds, n)


def test_images_that_cannot_be_decoded_are_in_no_pair():
    class Damaged(ArraySource):
        def __getitem__(self, index: int) -> np.ndarray:
            if index % 3 == 0:
                raise ImageError(f"{index}: damaged.")
            return super().__getitem__(index)

    identities = people(*(6,) * 8)
    drawn = sound_pairs(Damaged("set", np.zeros((48, 2, 2, 3), np.uint8), identities), 2, None, 0)
    assert drawn.n > 1 and (drawn.first % 3 != 0).all() and (drawn.second % 3 != 0).all()
