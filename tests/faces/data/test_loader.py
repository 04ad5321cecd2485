"""The loader's batches follow from (seed, epoch, index) alone; parts of sources."""

import itertools
import json

import numpy as np
import pytest

from faces.config import AugmentConfig
from faces.data.loader import make_loader
from faces.data.source import ArraySource, Relabelled, Subset, limit_images

OFF = AugmentConfig(flip=False, shift=0.0, zoom=0.0, rotate=0.0, colour=0.0, jpeg_quality=0)
ON = AugmentConfig(
    flip=True, shift=0.1, zoom=0.1, rotate=10.0, colour=0.2, jpeg_quality=40, gain=0.3, bias=20.0, gamma=0.5,
    gradient=0.5, saturation=0.5, occlusion=0.2, blur=0.03, low_resolution=0.5, grey=0.2, share=0.5,
)  # fmt: skip
SIZE = (8, 6)
STEPS = 8  # two epochs of 3 batches and a part of the third


def source():
    """20 images of 7 people; the first pixel's value is the image's number."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, *SIZE, 3), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(20)
    return ArraySource("made", images, rng.integers(0, 7, 20).astype(np.int32))


def order(epoch):
    """Three batches of six, other ones in each epoch."""
    return np.random.default_rng((1, epoch)).permutation(20)[:18].reshape(3, 6)


def loader(config=ON, steps=STEPS, seed=3, **options):
    return make_loader(source(), order, steps, SIZE, config, seed, **options)


def assert_equal(given, expected):
    assert len(given) == len(expected) > 0
    for one, other in zip(given, expected, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_batches_follow_the_order():
    faces, wanted = source(), np.concatenate([order(0), order(1), order(2)])
    batches = list(loader(OFF))
    assert len(batches) == STEPS
    for batch, indices in zip(batches, wanted, strict=False):
        assert batch["images"].shape == (6, *SIZE, 3) and batch["images"].dtype == np.uint8
        assert batch["identities"].shape == (6,) and batch["identities"].dtype == np.int32
        np.testing.assert_array_equal(batch["images"], faces.images[indices])
        np.testing.assert_array_equal(batch["identities"], faces.identities[indices])


def test_the_number_of_threads_changes_nothing():
    one = list(loader(threads=1))
    for threads in (2, 5):
        assert_equal(list(loader(threads=threads)), one)


def test_the_augmentation_depends_on_the_seed_the_step_and_the_place():
    def same_image_everywhere(epoch):
        return np.zeros((2, 3), np.int64)

    first, again, other = (
        list(make_loader(source(), same_image_everywhere, 4, SIZE, ON, seed)) for seed in (3, 3, 4)
    )
    assert_equal(first, again)
    versions = [image.tobytes() for batch in first + other for image in batch["images"]]
    assert len(set(versions)) == len(versions)


def test_a_longer_run_begins_with_the_shorter():
    assert_equal(list(loader(steps=STEPS))[:5], list(loader(steps=5)))


@pytest.mark.parametrize("done", [0, 1, 2, 3, 7])
def test_a_restored_loader_goes_on_where_the_other_stood(done):
    """In the middle of an epoch, at its end, before the last batch; the state goes through JSON, as in a checkpoint."""
    whole = list(loader())
    interrupted = loader(threads=3)
    assert_equal(list(itertools.islice(interrupted, done)) + whole[done:], whole)
    state = json.loads(json.dumps(interrupted.get_state()))
    resumed = loader(threads=1)
    next(resumed)  # what it did before is forgotten
    resumed.set_state(state)
    assert_equal(list(resumed), whole[done:])


@pytest.mark.parametrize("count", [2, 3, 6])
def test_parts_make_up_the_whole(count):
    parts = [list(loader(part=(index, count))) for index in range(count)]
    together = [
        {key: np.concatenate([part[key] for part in of_step]) for key in of_step[0]}
        for of_step in zip(*parts, strict=True)
    ]
    assert_equal(together, list(loader()))
    assert len(parts[0][0]["identities"]) == 6 // count


@pytest.mark.parametrize("part", [(0, 1), (0, 2), (1, 2)])
def test_it_tells_what_a_step_has_seen(part):
    """The whole batch's, in any process, before or after it is read, whatever it has given until then."""
    whole, faces = list(loader()), source()
    telling = loader(part=part)
    for step in (STEPS, 1, 5):
        indices = telling.indices(step)
        np.testing.assert_array_equal(faces.identities[indices], whole[step - 1]["identities"])
        np.testing.assert_array_equal(telling.images(step), whole[step - 1]["images"])
        assert telling.people(indices) == [str(label) for label in whole[step - 1]["identities"]]
    assert_equal(list(telling), list(loader(part=part)))


class Streamed:
    """A source that can only be streamed."""

    def __init__(self, faces):
        self._faces, self.name, self.identities = faces, faces.name, faces.identities

    def __len__(self):
        return len(self._faces)

    def stream(self, indices):
        assert isinstance(indices, np.ndarray)
        return (self._faces[index] for index in indices)


@pytest.mark.parametrize("wrap", [
    lambda faces: faces,
    lambda faces: Subset(faces, np.random.default_rng(5).permutation(20)),
    lambda faces: Relabelled(faces, 0.3, 1),
])  # fmt: skip
def test_a_source_that_streams_gives_the_same_batches(wrap):
    indexed, streamed = (
        list(make_loader(wrap(faces), order, STEPS, SIZE, ON, 3, part=(1, 2)))
        for faces in (source(), Streamed(source()))
    )
    assert_equal(streamed, indexed)


def test_a_batch_that_does_not_divide():
    with pytest.raises(ValueError, match="a batch of 6 images cannot be read by 4 processes in equal parts"):
        loader(part=(0, 4))


def test_subset_numbers_identities_anew():
    faces = ArraySource("made", source().images, np.array([5, 5, 2, 9, 2] * 4, np.int32))
    indices = np.array([13, 1, 12, 0])
    subset = Subset(faces, indices)
    assert subset.name == "made" and len(subset) == 4
    assert subset.identities.tolist() == [2, 1, 0, 1]
    assert subset.identities.dtype == np.int32
    for given, index in zip([subset[i] for i in range(4)], indices, strict=True):
        np.testing.assert_array_equal(given, faces[index])


def people(counts):
    """A source whose person i has counts[i] images, in no order."""
    identities = np.random.default_rng(2).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int32)
    images = np.arange(len(identities), dtype=np.uint8)[:, None, None, None]
    return ArraySource("made", images, identities)


def numbers_in(faces):
    return [int(faces[i].item()) for i in range(len(faces))]


COUNTS = [3, 1, 4, 1, 5, 9, 2, 6]


@pytest.mark.parametrize("images", [9, 15, 22, 30])
def test_limit_images_takes_whole_identities(images):
    faces, chosen = people(COUNTS), []
    for seed in range(6):
        limited = limit_images(faces, images, seed)
        numbers = numbers_in(limited)
        assert images - max(COUNTS) < len(limited) <= images
        taken = set(faces.identities[numbers].tolist())
        assert numbers == np.flatnonzero(np.isin(faces.identities, list(taken))).tolist()
        assert len(np.unique(limited.identities)) == limited.identities.max() + 1 == len(taken)
        assert numbers == numbers_in(limit_images(faces, images, seed))
        chosen.append(tuple(sorted(taken)))
    assert len(set(chosen)) > 1


@pytest.mark.parametrize("images", [0, sum(COUNTS), 1000])
def test_limit_images_of_more_than_there_are_is_the_source(images):
    faces = people(COUNTS)
    assert limit_images(faces, images, 0) is faces


def test_limit_images_grows_by_identities():
    """What a smaller limit takes, a larger one of the same seed takes too: Table 6's sets are nested."""
    faces = people(COUNTS)
    sets = [set(numbers_in(limit_images(faces, images, 1))) for images in range(9, 31)]
    assert all(small <= large for small, large in itertools.pairwise(sets))
    assert len(set(map(len, sets))) > 3
