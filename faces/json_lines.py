"""Objects of JSON between processes, one a line of a connection.

Not here: what they say (`processes.py`).
"""

import contextlib
import json
import socket
from collections.abc import Mapping
from typing import Any

_LONGEST = 1 << 20  # bytes of a line


def read(connection: socket.socket) -> dict[str, Any]:
    """The next line; {} where none comes, in the connection's time, or it holds no object."""
    data = b""
    try:
        while not data.endswith(b"\n") and len(data) < _LONGEST:
            waiting = connection.recv(1 << 16, socket.MSG_PEEK)  # what follows the line stays for the next
            if not waiting:
                return {}
            data += connection.recv(waiting.find(b"\n") + 1 or len(waiting))
        content = json.loads(data)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def patiently(connection: socket.socket) -> dict[str, Any]:
    """The next line of a process that is at work, however long it takes; {} where it ends."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a machine that is gone is noticed, in time
    return read(connection)


def tell(there: Mapping[int, socket.socket], content: Mapping[str, Any]) -> None:
    """Send a line to each; processes that have ended are passed over."""
    for connection in there.values():
        with contextlib.suppress(OSError):
            connection.sendall(json.dumps(content).encode() + b"\n")
