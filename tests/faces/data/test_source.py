"""Choices among a source's people, and labels made wrong on purpose."""

import numpy as np
import pytest

from faces.data.source import ArraySource, Relabelled, with_images
from faces.errors import DataError


def source(labels: list[int]) -> ArraySource:
    """One picture a label; the first pixel's value is the picture's number."""
    images = np.zeros((len(labels), 4, 4, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(len(labels))
    return ArraySource("made", images, np.array(labels, np.int32))


UNEVEN = source([3, 0, 3, 1, 2, 0, 3, 2, 3])  # of people 0 to 3: 2, 1, 2 and 4 pictures


@pytest.mark.parametrize(
    ("least", "pictures", "identities"),
    [
        (2, [0, 1, 2, 4, 5, 6, 7, 8], [2, 0, 2, 1, 0, 2, 1, 2]),
        (3, [0, 2, 6, 8], [0, 0, 0, 0]),
        (4, [0, 2, 6, 8], [0, 0, 0, 0]),
    ],
)
def test_people_with_enough_images_are_numbered_anew(least: int, pictures: list[int], identities: list[int]):
    chosen = with_images(UNEVEN, least)
    assert [chosen[n][0, 0, 0] for n in range(len(chosen))] == pictures
    assert chosen.identities.tolist() == identities and chosen.identities.dtype == np.int32


def test_where_everyone_has_enough_the_source_stays_what_it_is():
    assert with_images(UNEVEN, 0) is UNEVEN and with_images(UNEVEN, 1) is UNEVEN
    with pytest.raises(DataError, match=r"data\.min_images = 5: nobody in made has so many; 4 is the most"):
        with_images(UNEVEN, 5)


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.99])
@pytest.mark.parametrize("people", [2, 7])
def test_so_many_labels_are_wrong_and_only_those(fraction: float, people: int):
    true = source(np.random.default_rng(0).integers(0, people, 101).tolist())
    faces = Relabelled(true, fraction, seed=1)
    assert faces.is_wrong.sum() == round(101 * fraction)
    np.testing.assert_array_equal(faces.identities != true.identities, faces.is_wrong)
    assert faces.identities.dtype == np.int32 and set(faces.identities) <= set(range(people))
    assert len(faces) == 101 and faces.name == "made"
    assert [faces[n][0, 0, 0] for n in (0, 50, 100)] == [0, 50, 100]


def test_one_person_has_nobody_to_be_mistaken_for():
    with pytest.raises(DataError, match=r"data\.wrong_labels = 0\.5: made has one person"):
        Relabelled(source([0, 0, 0]), 0.5, seed=0)


def test_wrong_labels_follow_from_the_seed_and_fall_on_everyone():
    true = source(np.repeat(np.arange(4), 500).tolist())
    one, again, other = (Relabelled(true, 0.5, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.identities, again.identities)
    np.testing.assert_array_equal(one.is_wrong, again.is_wrong)
    assert (one.is_wrong != other.is_wrong).any()
    table = np.zeros((4, 4), int)  # true label x given label
    np.add.at(table, (true.identities[one.is_wrong], one.identities[one.is_wrong]), 1)
    off_diagonal = table[~np.eye(4, dtype=bool)]
    assert (abs(off_diagonal - 1000 / 12) < 40).all() and (np.diag(table) == 0).all()  # 4 standard deviations
