"""Processes that meet: what makes no sense is refused at once, and who is missing is named."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable

import pytest

from faces import processes
from faces.errors import ConfigError, FacesError, OutputError
from faces.meeting import WAIT, Meeting, meeting
from faces.processes import meet


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("h:1", None, None, None), "--processes and --process are missing"),
        (("h:1", 2, None, None), "--process is missing"),
        ((None, 2, None, None), "--coordinator and --process are missing"),
        ((None, None, 1, None), "--coordinator and --processes are missing"),
        ((None, 2, 1, None), "--coordinator is missing"),
        ((None, None, None, 5.0), "--coordinator and --processes and --process are missing"),
        (("h:1", 2, 2, None), "--process 2: with --processes 2 the numbers are 0 to 1"),
        (("h:1", 2, -1, None), "--process -1"),
        (("h:1", 0, 0, None), "--processes 0: at least 1"),
        (("h:1", 2, 0, 0.0), "--wait 0: a number of seconds above 0"),
        (("h:1", 2, 0, float("nan")), "--wait nan"),
        *(((text, 2, 0, None), "HOST:PORT is expected") for text in ("", "h", ":1", "h:", "h:x", "h:0", "h:65536")),
        *(((text, 2, 0, None), "HOST:PORT is expected") for text in ("http://h:1", "h h:1", "h:-1", "h:\u0661")),
    ],
)
def test_options_that_do_not_belong_together(options: tuple, words: str):
    with pytest.raises(ConfigError) as refused:
        meeting(*options)
    assert words in str(refused.value)


def test_options_that_do():
    assert meeting(None, None, None, None) is None
    assert meeting("10.0.0.1:12", 2, 1, None) == Meeting("10.0.0.1", 12, 2, 1, WAIT)
    place = meeting("[::1]:65535", 1, 0, 2.5)
    assert place == Meeting("::1", 65535, 1, 0, 2.5) and place is not None and place.address == "[::1]:65535"


def together(*parts: Callable[[], str]) -> list[str]:
    """What each returns, or its error's sentence."""
    said = [""] * len(parts)

    def run(place: int) -> None:
        try:
            said[place] = parts[place]()
        except FacesError as error:
            said[place] = f"error: {error}"

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return said


def party(
    port: int, count: int, number: int, wait: float = 10.0, settled: str = "", found: str = "72 images", **more: int
) -> Callable[[], str]:
    """The part of one process."""
    where = Meeting("localhost", port, count, number, wait)
    result = (settled if number else settled or "the folder", {"training set": found})
    return lambda: meet(where, {"seed": 0, **more}, lambda: result)


def refusing(port: int, count: int, number: int, sentence: str) -> Callable[[], str]:
    """The part of a process that cannot prepare."""

    def refuse() -> tuple[str, dict[str, str]]:
        raise OutputError(sentence)

    return lambda: meet(Meeting("localhost", port, count, number, 10.0), {"seed": 0}, refuse)


def test_all_learn_what_the_first_has_settled():
    port = free_port()
    assert together(*(party(port, 3, number) for number in (2, 0, 1))) == ["the folder"] * 3
    assert together(party(port, 1, 0)) == ["the folder"]


def test_who_is_missing_is_named_to_all():
    port = free_port()
    first, third = together(party(port, 4, 0, wait=0.6), party(port, 4, 2))
    assert first == third
    assert first.startswith(f"error: processes 1 and 3 of 4 did not come to localhost:{port} within 0.6 seconds")
    assert "here are 0, 2" in first and "--wait" in first


def test_the_first_is_missing(capsys: pytest.CaptureFixture[str]):
    port = free_port()
    (said,) = together(party(port, 2, 1, wait=0.5))
    assert f"localhost:{port}: process 0 could not be reached within 0.5 seconds (" in said
    assert capsys.readouterr().err.count("waiting up to 0.5 seconds") == 1


def test_a_host_that_is_none():
    where = Meeting("no-such-host.invalid", 1, 2, 1, 0.3)
    with pytest.raises(ConfigError, match=r"no-such-host\.invalid:1: process 0 could not be reached"):
        meet(where, {}, lambda: ("", {}))


def test_what_one_cannot_do_is_everyones_sentence():
    port = free_port()
    said = together(refusing(port, 2, 0, "runs/x: holds results already."), party(port, 2, 1))
    assert said == ["error: runs/x: holds results already."] * 2
    said = together(party(port, 3, 0), refusing(port, 3, 1, "DIR: no such folder."), party(port, 3, 2))
    theirs = "error: process 1: DIR: no such folder."
    assert said == [theirs, "error: DIR: no such folder.", theirs]
    said = together(party(port, 2, 0), party(port, 2, 1, found="71 images"))
    words = "error: process 1 has another training set (71 images) than process 0 (72 images); give all"
    assert said == [f"{words} processes the same."] * 2


def test_other_options_and_numbers_given_twice():
    port = free_port()
    for said in together(party(port, 2, 0), party(port, 2, 1, seed=1)):
        assert said.startswith("error: process 1 was started with seed = 1 and process 0 with 0; give all processes")
    for said in together(party(port, 2, 0), party(port, 3, 2)):
        assert "process 2 was started with processes = 3 and process 0 with 2" in said
    said = together(party(port, 3, 0), party(port, 3, 1), party(port, 3, 1))
    assert set(said) == {"error: process 1 was started twice; give each process a --process of its own."}


def test_a_port_that_is_taken_and_strangers_at_it():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        (said,) = together(party(port, 2, 0))
        assert f"localhost:{port}: process 0 cannot listen there" in said
        stranger = threading.Thread(target=lambda: other.accept()[0].close())
        stranger.start()
        (said,) = together(party(port, 2, 1, wait=2.0))
        stranger.join()
        assert "another program listens there" in said

    port = free_port()

    def knock() -> str:
        for words in (b"GET / HTTP/1.1\n", b'{"process": 7}\n', b"[1]\n", b"\xff\n"):
            for _ in range(50):
                with contextlib.suppress(OSError), socket.create_connection(("localhost", port), 1) as connection:
                    connection.sendall(words)
                    break
                time.sleep(0.02)
        return party(port, 2, 1)()

    assert together(party(port, 2, 0), knock) == ["the folder"] * 2


def test_one_that_ended_meanwhile_may_come_again():
    port = free_port()

    def leave_and_come() -> str:
        for _ in range(50):
            with contextlib.suppress(OSError), socket.create_connection(("localhost", port), 1) as connection:
                connection.sendall(b'{"process": 1, "started_with": {"processes": 3, "seed": 0}}\n')
                break
            time.sleep(0.02)
        time.sleep(0.1)
        return party(port, 3, 1)()

    assert together(party(port, 3, 0), leave_and_come, lambda: (time.sleep(0.3), party(port, 3, 2)())[1]) == [
        "the folder"
    ] * 3


def test_an_address_in_numbers_is_the_only_one_listened_at():
    """All of 127.0.0.0/8 is this machine, as are its other addresses."""
    for host, other in (("127.0.0.1", "127.0.0.2"), ("127.0.0.2", "127.0.0.1"), ("localhost", "127.0.0.2")):
        with processes._listen(Meeting(host, free_port(), 2, 0, 1.0)) as server:
            place, port = server.getsockname()[:2]
            assert place in ({"127.0.0.1", "::1"} if host == "localhost" else {host})
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((other, port), 1)
    for host in (socket.gethostname(), "192.0.2.1"):  # a name, and an address that is not this machine's
        with processes._listen(Meeting(host, free_port(), 2, 0, 1.0)) as server:
            socket.create_connection(("127.0.0.2", server.getsockname()[1]), 1).close()
    assert processes._bind_address(Meeting("127.0.0.1", 5, 2, 0, 1.0)) == "127.0.0.1:5"
    assert processes._bind_address(Meeting("a-name", 5, 2, 0, 1.0)) is None
