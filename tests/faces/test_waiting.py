"""Batches that do not come: who reads what is told, signals are heard, and the run ends at last."""

import threading
import time

import numpy as np
import pytest
from PIL import Image

from faces import reading
from faces.config import AugmentConfig
from faces.data import images
from faces.data.image_folder import FolderSource
from faces.data.loader import make_loader
from faces.data.source import ArraySource
from faces.errors import DataError, DataStalled
from faces.waiting import TIMES, Waiting

OFF = AugmentConfig(flip=False, shift=0.0, zoom=0.0, rotate=0.0, colour=0.0, jpeg_quality=0)
SIZE = (4, 4)
SHORT = 0.15
"""Seconds of patience."""


class Blocking:
    """Faces one of which is not given before `answer` is set."""

    def __init__(self, blocked):
        pixels = np.random.default_rng(0).integers(0, 256, (12, *SIZE, 3), dtype=np.uint8)
        self._faces, self.blocked = ArraySource("made", pixels, np.zeros(12, np.int32)), blocked
        self.answer = threading.Event()
        self.name, self.identities, self.identity_names = "a set", self._faces.identities, ["0"]

    def __len__(self):
        return len(self._faces)

    def __getitem__(self, index):
        if index == self.blocked:
            assert self.answer.wait(20)
        return self._faces[index]


def order(epoch):
    return np.arange(12).reshape(6, 2)  # image 7 is the second of step 4


def loader(source, threads=2):
    return make_loader(source, order, 6, SIZE, OFF, 0, threads=threads)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_a_read_that_blocks_is_told_with_its_worker_and_its_image_and_goes_on(threads):
    source, told = Blocking(7), []

    def tell(sentence):
        told.append(sentence)
        source.answer.set()

    given = list(Waiting(loader(source, threads), SHORT, tell))
    assert len(told) == 1
    who = "worker" if threads else "worker 1"
    assert who in told[0] and "image 7 of a set" in told[0] and "for step 4" in told[0] and "train.patience" in told[0]
    for one, other in zip(given, loader(ArraySource("made", source._faces.images, source.identities)), strict=True):
        np.testing.assert_array_equal(one["images"], other["images"])


@pytest.mark.parametrize("threads", [0, 2])
def test_in_the_end_the_wait_ends_with_the_place_of_the_last_batch(threads):
    source, told = Blocking(7), []
    batches = Waiting(loader(source, threads), SHORT, told.append)
    try:
        for _ in range(3):
            next(batches)
        with pytest.raises(DataStalled, match=r"image 7 of a set.* for step 4.* Look at the disk"):
            next(batches)
        assert len(told) == TIMES - 1 and batches.get_state() == {"next_index": 3}
    finally:
        source.answer.set()
    np.testing.assert_array_equal(next(batches)["images"][1], source[7])  # none is lost
    assert batches.get_state() == {"next_index": 4}


def test_what_is_asked_while_waiting_may_end_it_and_no_batch_is_lost():
    source = Blocking(0)

    def check():
        raise KeyboardInterrupt

    batches = Waiting(loader(source), SHORT, check=check)
    with pytest.raises(KeyboardInterrupt):
        next(batches)
    source.answer.set()
    deadline = time.monotonic() + 10
    while not batches._ahead.done() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert batches.get_state() == {"next_index": 0}
    np.testing.assert_array_equal(next(batches)["images"][0], source[0])


def test_without_patience_it_waits_in_silence():
    source, told = Blocking(1), []
    threading.Timer(0.3, source.answer.set).start()
    assert len(list(Waiting(loader(source), 0, told.append))) == 6
    assert not told


def test_what_the_loader_raises_comes_where_the_batch_would(tmp_path):
    class Broken(Blocking):
        def __getitem__(self, index):
            if index == 5:
                raise DataError("image 5 is broken.")
            return self._faces[index]

    batches = Waiting(loader(Broken(-1)))
    assert [next(batches)["images"].shape for _ in range(2)] == [(2, *SIZE, 3)] * 2
    with pytest.raises(DataError, match="image 5 is broken"):
        next(batches)


def test_the_file_is_named_that_a_set_reads_at_any_depth(tmp_path, monkeypatch):
    for person in ("a", "b"):
        (tmp_path / person).mkdir()
        for name in "012345":
            Image.new("RGB", SIZE).save(tmp_path / person / f"{name}.png")
    answer, decode = threading.Event(), images.decode_image

    def slow(data, name):
        assert not name.endswith("1.png") or answer.wait(20)
        return decode(data, name)

    monkeypatch.setattr("faces.data.image_folder.decode_image", slow)
    told = list[str]()

    def tell(sentence):
        told.append(sentence)
        answer.set()

    assert len(list(Waiting(loader(FolderSource(tmp_path), threads=1), SHORT, tell))) == 6
    assert f"worker 1 has been reading image 1 of {tmp_path} from {tmp_path}/a/1.png for" in told[0]


def test_notes_outside_of_a_batch_go_nowhere_and_a_stuck_reader_is_seen():
    reading.note("nothing")
    assert reading.said() == "No worker reads anything." and not reading.is_stuck(0)
    with reading.batch(3):
        reading.note("image", 1, "of", "x\ny")
        assert not reading.is_stuck() and reading.is_stuck(-1)
        assert "image 1 of x\\ny" in reading.said() and "step 3" in reading.said()
