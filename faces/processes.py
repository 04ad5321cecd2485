"""Several processes that make one run: they meet before JAX joins them, so that a missing one can be named.

JAX's own start waits for minutes and then ends in the middle of C++. So process 0 first listens itself where its
coordinator will, until every other process has said its number and with what it was started. Then all prepare, each on
its own: open their data, and process 0 the run's folder, which it tells the others. What goes wrong in the meantime, in
whichever process, is one sentence in every process.

Not here: what they do when one is gone later (`partners.py`), where they meet (`meeting.py`), devices of all
(`mesh.py`), options of the command line (the mains).
"""

import contextlib
import json
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from faces.errors import ConfigError, FacesError
from faces.json_lines import patiently, read, tell
from faces.meeting import Meeting, written
from faces.partners import Watch

_HELLO = 10.0  # seconds in which who has connected must say who it is
_RETRY = 0.2  # seconds between two attempts to reach process 0

Prepare = Callable[[], tuple[str, Mapping[str, str]]]
"""What a process does on its own before JAX joins them: -> what process 0 has settled for all, such as the run's
folder ("" in the others), and what all must have found alike, such as the training set, by what it is called."""


def join(where: Meeting, started_with: Mapping[str, Any], prepare: Prepare) -> tuple[str, Watch]:
    """Meet, prepare, and have JAX join the processes; to be called before JAX meets its first device.

    Args: as `meet`.
    Returns:
        What process 0 has settled, and the watch on the others.
    Raises:
        ConfigError: as `meet`, or JAX could not join them.
    """
    import jax

    settled, watch = _watched(where, started_with, prepare)
    try:
        jax.distributed.initialize(
            where.address,
            where.processes,
            where.process,
            initialization_timeout=max(1, round(where.wait)),
            cluster_detection_method="deactivate",  # it would take one device of a host, as for a process each
            coordinator_bind_address=_bind_address(where),
        )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"{where.address}: JAX could not join the processes ({error}); start all again.") from error
    return settled, watch


def watched(where: Meeting, started_with: Mapping[str, Any], prepare: Prepare) -> tuple[str, Watch]:
    """Meet and prepare, without JAX: each process keeps to its own devices, and is interrupted when another is lost.

    Args: as `meet`.
    Returns:
        What process 0 has settled, and the watch on the others.
    Raises:
        ConfigError, FacesError: as `meet`.
    """
    return _watched(where, started_with, prepare, interrupts=True)


def meet(where: Meeting, started_with: Mapping[str, Any], prepare: Prepare) -> str:
    """Wait until all processes are there and have prepared.

    Args:
        where: they meet, and which this one is.
        started_with: what must be the same in all of them, such as the config; as JSON holds it.
        prepare: called in each process when all are there, for as long as it takes.
    Returns:
        What process 0 has settled.
    Raises:
        ConfigError: a process is missing, was started twice or with something else, could not prepare, or has found
            something else; or the place cannot be reached.
        FacesError: what `prepare` raised here.
    """
    with contextlib.ExitStack() as stack:
        return _meet(where, started_with, prepare, stack)[0]


def _watched(
    where: Meeting, started_with: Mapping[str, Any], prepare: Prepare, *, interrupts: bool = False
) -> tuple[str, Watch]:
    with contextlib.ExitStack() as stack:
        settled, there = _meet(where, started_with, prepare, stack)
        stack.pop_all()  # the connections stay
    return settled, Watch(where.process, there, interrupts=interrupts)


Met = tuple[str, dict[int, socket.socket]]
"""What process 0 has settled; connections by the numbers of the processes at their other ends."""


def _meet(where: Meeting, started_with: Mapping[str, Any], prepare: Prepare, stack: contextlib.ExitStack) -> Met:
    """As `meet`; the connections stay open as long as `stack`."""
    mine = json.loads(json.dumps({"processes": where.processes, **started_with}))
    return (_lead if where.process == 0 else _follow)(where, mine, prepare, stack)


def _lead(where: Meeting, mine: dict[str, Any], prepare: Prepare, stack: contextlib.ExitStack) -> Met:
    """Process 0's part."""
    there: dict[int, socket.socket] = {}
    with _listen(where) as server:
        try:
            deadline = time.monotonic() + where.wait
            while len(there) < where.processes - 1:
                _welcome(where, mine, server, there, deadline, stack)
            tell(there, {"go": True})
            settled, found = prepare()
            for number in sorted(there):
                _check_prepared(number, patiently(there[number]), found)
        except FacesError as error:
            tell(there, {"error": str(error)})
            raise
        tell(there, {"settled": settled})
    return settled, there


def _check_prepared(number: int, answer: dict[str, Any], found: Mapping[str, str]) -> None:
    """Refuse to go on with a process that has ended, could not prepare, or has found something else."""
    if isinstance(answer.get("error"), str):
        raise ConfigError(f"process {number}: {answer['error']}")
    theirs = answer.get("found")
    if not isinstance(theirs, dict):
        raise ConfigError(f"process {number} ended while the others were waited for; start all again.")
    for what in found.keys() | theirs.keys():
        if found.get(what) != theirs.get(what):
            raise ConfigError(
                f"process {number} has another {what} ({theirs.get(what)}) than process 0 ({found.get(what)}); give "
                "all processes the same."
            )


def _welcome(
    where: Meeting,
    mine: dict[str, Any],
    server: socket.socket,
    there: dict[int, socket.socket],
    deadline: float,
    stack: contextlib.ExitStack,
) -> None:
    """Accept one process into `there`; any other connection is closed."""
    left = deadline - time.monotonic()
    try:
        if left <= 0:
            raise TimeoutError
        server.settimeout(left)
        connection = stack.enter_context(server.accept()[0])
    except TimeoutError:
        _forget_gone(there)
        came = f"; here are {', '.join(map(str, [0, *sorted(there)]))}" if there else ""
        raise ConfigError(
            f"{_named(_missing(where, there))} of {where.processes} did not come to {where.address} within "
            f"{where.wait:g} seconds{came}; start each with the same --coordinator and --processes, or give more "
            "time with --wait."
        ) from None
    connection.settimeout(min(_HELLO, max(left, 1.0)))
    hello = read(connection)
    number, theirs = hello.get("process"), hello.get("started_with")
    if type(number) is not int or not isinstance(theirs, dict):
        connection.close()
        return
    for key in mine.keys() | theirs.keys():
        if mine.get(key) != theirs.get(key):
            tell({number: connection}, {"error": _other(number, key, mine, theirs)})
            raise ConfigError(_other(number, key, mine, theirs))
    if number in there:
        _forget_gone(there)
    if not 0 < number < where.processes or number in there:
        sentence = f"process {number} was started twice; give each process a --process of its own."
        tell({number: connection}, {"error": sentence})
        raise ConfigError(sentence)
    there[number] = connection


def _follow(where: Meeting, mine: dict[str, Any], prepare: Prepare, stack: contextlib.ExitStack) -> Met:
    """The part of a process that is not the first."""
    connection = stack.enter_context(_reach(where))
    here = {0: connection}
    connection.settimeout(where.wait + 2 * _HELLO)
    tell(here, {"process": where.process, "started_with": mine})
    _heard(where, read(connection), "go")
    try:
        _, found = prepare()
    except FacesError as error:
        tell(here, {"error": str(error)})
        raise
    tell(here, {"found": dict(found)})
    return _heard(where, patiently(connection), "settled"), here


def _heard(where: Meeting, answer: dict[str, Any], word: str) -> Any:
    """The answer of process 0 under a key; a refusal is an error, and so is no answer."""
    if isinstance(answer.get("error"), str):
        raise ConfigError(answer["error"])
    if word not in answer:
        raise ConfigError(
            f"{where.address}: process 0 ended before all were there, or another program listens there; start all "
            "processes again, or choose another port."
        )
    return answer[word]


def _reach(where: Meeting) -> socket.socket:
    """A connection to process 0, which may be started later."""
    deadline, reason = time.monotonic() + where.wait, ""
    while (left := deadline - time.monotonic()) > 0:
        try:
            return socket.create_connection((where.host, where.port), timeout=left)
        except (OSError, UnicodeError) as error:
            told, reason = reason, getattr(error, "strerror", None) or str(error) or type(error).__name__
        if not told:
            print(f"waiting up to {where.wait:g} seconds for process 0 at {where.address} ({reason})", file=sys.stderr)
        time.sleep(min(_RETRY, max(0.0, deadline - time.monotonic())))
    raise ConfigError(
        f"{where.address}: process 0 could not be reached within {where.wait:g} seconds ({reason}); start it, check "
        "the address, or give more time with --wait."
    )


def _listen(where: Meeting) -> socket.socket:
    """At the port of this machine where JAX's coordinator will listen."""
    place = _own_address(where)
    try:
        if place is not None:
            return socket.create_server(place[1], family=place[0])
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", where.port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", where.port))
    except OSError as error:
        raise ConfigError(
            f"{where.address}: process 0 cannot listen there ({error.strerror}); choose another port for --coordinator."
        ) from None


def _own_address(where: Meeting) -> tuple[socket.AddressFamily, tuple[str, int]] | None:
    """The family and address to listen at alone; None to listen at all of this machine's.

    An address in numbers, and `localhost`, are meant as they stand, as long as this machine has them: behind a
    translation of addresses it has not. A name may be another address here than elsewhere, as that of a machine is
    which its own list of hosts calls 127.0.1.1.
    """
    numeric = socket.AI_NUMERICHOST if where.host != "localhost" else 0
    try:
        found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM, flags=numeric)
    except (OSError, UnicodeError):
        return None
    for family, _, _, _, place in found:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind((place[0], 0))
            return family, (str(place[0]), where.port)
    return None


def _bind_address(where: Meeting) -> str | None:
    """Where JAX's coordinator listens, as it takes it; None for all addresses."""
    place = _own_address(where)
    return None if place is None else written(*place[1])


def _forget_gone(there: dict[int, socket.socket]) -> None:
    """Take out the processes whose connections have ended."""
    for number, connection in list(there.items()):
        connection.settimeout(0.0)
        try:
            is_gone = connection.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:  # nothing said, and still there
            is_gone = False
        except OSError:
            is_gone = True
        connection.settimeout(_HELLO)
        if is_gone:
            del there[number]


def _missing(where: Meeting, there: Mapping[int, object]) -> list[int]:
    return [number for number in range(1, where.processes) if number not in there]


def _named(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"process {numbers[0]}"
    return f"processes {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def _other(number: int, key: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    return (
        f"process {number} was started with {key} = {theirs.get(key)!r} and process 0 with {mine.get(key)!r}; give all "
        "processes the same options."
    )
