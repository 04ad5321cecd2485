"""What training does about images that cannot be read."""

from collections.abc import Iterator

import numpy as np
import pytest

from faces.data.loader import make_loader
from faces.data.stand_in import StandIns
from faces.errors import DataError, ImageError
from tests.faces.configs import tiny


class Broken:
    """Images whose pixels are their number, some of which cannot be read."""

    name = "broken"

    def __init__(self, labels: list[int], unreadable: set[int], streams: bool = False):
        self.identities, self._unreadable = np.array(labels, np.int32), unreadable
        self.identity_names = [f"person {label}" for label in range(max(labels) + 1)]
        if streams:
            self.stream = self._stream

    def __len__(self) -> int:
        return len(self.identities)

    def __getitem__(self, index: int) -> np.ndarray:
        if index in self._unreadable:
            raise ImageError(f"{index}.jpg: is text.")
        return np.full((4, 4, 3), index % 256, np.uint8)

    def marks(self) -> np.ndarray:
        return np.arange(len(self), dtype=np.uint64)

    def _stream(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        return (self[index] for index in indices.tolist())


LABELS = [0, 1, 0, 1, 0, 2, 1, 2]


@pytest.mark.parametrize("streams", [False, True])
def test_the_next_readable_image_of_the_person_stands_in_and_is_counted(streams: bool):
    source = StandIns(Broken(LABELS, {0, 2, 6}, streams))
    given = [int(image[0, 0, 0]) for image in source.stream(np.arange(8))]
    assert given == [4, 1, 4, 3, 4, 5, 1, 7]
    assert source.unreadable == {0: "0.jpg: is text.", 2: "2.jpg: is text.", 6: "6.jpg: is text."}
    assert source.said() == (
        "3 of the 8 images could not be read, and another one of the same person stood in for each; the first: "
        "0.jpg: is text."
    )


def test_nothing_is_said_where_all_can_be_read():
    source = StandIns(Broken(LABELS, set()))
    assert [int(image[0, 0, 0]) for image in source.stream(np.array([3, 0, 3]))] == [3, 0, 3]
    assert source.said() == "" and source.identity_names[2] == "person 2" and source.marks()[3] == 3


def test_a_person_without_any_readable_image_ends_the_run_by_name():
    source = StandIns(Broken(LABELS, {5, 7}))
    with pytest.raises(DataError, match=r"broken: no image of person 2 can be read.*experiments\.prepare"):
        list(source.stream(np.array([0, 5])))


def test_more_than_one_in_twenty_ends_the_run():
    count = 500
    source = StandIns(Broken([0] * count, set(range(0, count, 19))))
    with pytest.raises(DataError, match="26 of its 500 images cannot be read, more than one in twenty"):
        list(source.stream(np.arange(count)))
    assert list(StandIns(Broken([0] * count, set(range(0, count, 20)))).stream(np.arange(count)))


def test_batches_are_the_same_in_one_process_and_in_two():
    order = lambda epoch: np.random.default_rng(epoch).permutation(8).reshape(2, 4)  # noqa: E731
    augment = tiny().augment

    def batches(part: tuple[int, int]) -> list[np.ndarray]:
        source = StandIns(Broken(LABELS, {0, 5}))
        return [batch["images"] for batch in make_loader(source, order, 4, (4, 4), augment, 3, part)]

    whole, halves = batches((0, 1)), zip(batches((0, 2)), batches((1, 2)), strict=True)
    for one, two in zip(whole, halves, strict=True):
        np.testing.assert_array_equal(one, np.concatenate(two))
