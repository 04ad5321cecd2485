"""Processes that are gone, silent or failed end the others, in words; those that are done do not."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from faces import partners
from faces.errors import DataError, OutputError
from faces.json_lines import read, tell
from faces.partners import LOST, Watch

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of `Ends`


class Ends:
    """Exit codes with which watches have ended what would be their process."""

    def __init__(self) -> None:
        self.codes = list[int]()

    def __call__(self, code: int) -> None:
        self.codes.append(code)
        raise SystemExit  # of the thread

    def wait(self, count: int) -> list[int]:
        _until(lambda: len(self.codes) >= count)
        return self.codes


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Ends:
    recorded = Ends()
    monkeypatch.setattr(partners, "leave_at_once", recorded)
    monkeypatch.setattr(partners, "_BEAT", 0.05)
    monkeypatch.setattr(partners, "_HEARD", 0.05)
    monkeypatch.setattr(partners, "_NAMING", 0.05)
    monkeypatch.setattr(partners.atexit, "register", lambda _: None)
    return recorded


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with ExitStack() as stack:
        ends = socket.socketpair()
        for end in ends:
            stack.enter_context(end)
        yield ends
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        _until(lambda: not any(thread.name == "watch" for thread in threading.enumerate()))


Pair = tuple[socket.socket, socket.socket]


def test_one_that_is_gone_ends_all_in_words(ends: Ends, pair: Pair, capfd: pytest.CaptureFixture[str]):
    """Process 1 of three is killed: process 0 sees it and tells process 2."""
    first, second = pair
    third, at_third = socket.socketpair()
    with third, at_third:
        leader, follower = Watch(0, {1: first, 2: third}), Watch(2, {0: at_third})
        for watch in (leader, follower):
            watch._last_words = lambda: "go on with: python -m experiments.facenet --resume"
        tell({0: second}, {"host": "node7"})
        _until(lambda: leader._hosts[1] == "node7")
        second.shutdown(socket.SHUT_RDWR)
        assert ends.wait(2) == [LOST, LOST]
    said = "error: process 1 on node7 is gone: it was killed, or its machine has ended."
    assert capfd.readouterr().err.splitlines() == [said, "go on with: python -m experiments.facenet --resume"] * 2


def test_one_that_is_silent_counts_as_gone(ends: Ends, pair: Pair, capfd: pytest.CaptureFixture[str]):
    Watch(1, {0: pair[0]}, silent=0.3)
    assert ends.wait(1) == [LOST]
    assert "process 0 on " in (said := capfd.readouterr().err) and "not been heard of for 0.3 seconds" in said


def test_work_without_collectives_is_interrupted_when_one_is_gone(
    ends: Ends, pair: Pair, monkeypatch: pytest.MonkeyPatch
):
    """It may keep what it has; where it does not end by itself, it is ended."""
    monkeypatch.setattr(partners, "_SAVING", 0.2)
    watch = Watch(0, {1: pair[0]}, interrupts=True)
    with pytest.raises(KeyboardInterrupt):
        pair[1].shutdown(socket.SHUT_RDWR)
        time.sleep(10)
    assert watch.lost.startswith("process 1 on ") and "is gone" in watch.lost and not ends.codes
    assert ends.wait(1) == [LOST]


def test_one_that_fails_tells_why_and_ends_by_itself(ends: Ends, pair: Pair, capfd: pytest.CaptureFixture[str]):
    failing, other = Watch(1, {0: pair[0]}), Watch(0, {1: pair[1]})
    with pytest.raises(OutputError), failing.guarding(lambda: "go on with: this"):
        raise OutputError("a: full. Then go on with: that") from OutputError("a: full.")
    assert ends.wait(1) == [LOST]
    assert "has stopped: a: full.\n" in capfd.readouterr().err
    partners.ended_with(2)
    with pytest.raises(SystemExit):
        failing._leave_at_once()
    assert ends.codes == [LOST, 2] and other._thread is not failing._thread


def test_what_all_find_each_says_by_itself(
    ends: Ends, pair: Pair, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(partners, "_HEARD", 0.3)
    for watch in (Watch(1, {0: pair[0]}), Watch(0, {1: pair[1]})):
        with pytest.raises(DataError), watch.guarding(lambda: ""):
            raise DataError("a.png: cannot be read.")
    _until(lambda: watch._done == {1})
    time.sleep(0.4)
    assert not ends.codes and not capfd.readouterr().err


def test_ends_that_all_have_agreed_on_are_left_alone(ends: Ends, pair: Pair):
    one, other = Watch(1, {0: pair[0]}), Watch(0, {1: pair[1]})
    with one.guarding(lambda: ""):
        time.sleep(0.15)  # a few beats
    agreed = KeyboardInterrupt()
    agreed.is_agreed = True  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(KeyboardInterrupt), other.guarding(lambda: ""):
        raise agreed
    _until(lambda: one._done == {0} and other._done == {1})
    for end in pair:
        end.shutdown(socket.SHUT_RDWR)
    _until(lambda: not one._there and not other._there)
    one._leave_at_once()
    assert not ends.codes


def test_an_interrupt_that_the_others_have_not_had_is_told_to_them(ends: Ends, pair: Pair):
    with pytest.raises(KeyboardInterrupt), Watch(1, {0: pair[0]}).guarding(lambda: ""):
        raise KeyboardInterrupt
    while "failed" not in (line := read(pair[1])):
        assert line
    assert line["failed"] == "interrupted."
    tell({1: pair[1]}, {"done": True})
