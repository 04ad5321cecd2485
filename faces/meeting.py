"""Where the processes of one run meet, by the command line's four options and by their launcher.

Not here: how they meet there (`processes.py`), what a launcher says (`launchers.py`), the options (the mains).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from faces.errors import ConfigError
from faces.launchers import told

AUTO = "auto"
"""In the place of the coordinator's address: all is as the launcher says."""
WAIT = 300.0
"""Seconds that the processes wait for one another where nothing else is said."""


@dataclass(frozen=True)
class Meeting:
    """Where the processes of a run meet, and which this one is.

    Args:
        host, port: where process 0 listens; at this address alone if it is one of its machine's, in numbers, or
            `localhost`, and at all where `host` is another name.
        processes: how many there are.
        process: this one's number, from 0.
        wait: seconds until those that are missing are given up.
    """

    host: str
    port: int
    processes: int
    process: int
    wait: float

    @property
    def address(self) -> str:
        """Host and port, as JAX takes them."""
        return written(self.host, self.port)


def meeting(
    coordinator: str | None,
    processes: int | None,
    process: int | None,
    wait: float | None,
    environment: Mapping[str, str] | None = None,
) -> Meeting | None:
    """What the command line's four options say together; None where none of them is given.

    Args:
        coordinator: HOST:PORT, or `auto`: all three are as the launcher says that has started this process.
        processes, process: where None, but not `coordinator`, as the launcher says.
        wait: None for `WAIT`.
        environment: with what the launcher says (`launchers.py`); None for nothing.
    Raises:
        ConfigError: some are missing, or make no sense.
    """
    if coordinator is None and processes is None and process is None and wait is None:
        return None
    launched = told(environment or {}) if coordinator is not None else None
    if coordinator == AUTO and launched is None:
        raise ConfigError(
            f"--coordinator {AUTO}: no launcher that is known has started this process (SLURM's srun, Open MPI's "
            "mpirun, a TPU slice of GKE, a job of Kubernetes with an index); give --coordinator HOST:PORT, --processes "
            "N and --process I."
        )
    if launched is not None:
        coordinator = launched.coordinator if coordinator == AUTO else coordinator
        processes = launched.processes if processes is None else processes
        process = launched.process if process is None else process
    given = {"--coordinator": coordinator, "--processes": processes, "--process": process}
    missing = [option for option, value in given.items() if value is None]
    if coordinator is None or processes is None or process is None:
        silent = f", which {launched.launcher} does not tell here" if launched is not None else ""
        raise ConfigError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing{silent}: several processes make "
            "one run with --coordinator HOST:PORT, --processes N and --process I in each."
        )
    if processes < 1:
        raise ConfigError(f"--processes {processes}: at least 1 is needed.")
    if not 0 <= process < processes:
        raise ConfigError(f"--process {process}: with --processes {processes} the numbers are 0 to {processes - 1}.")
    seconds = WAIT if wait is None else wait
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"--wait {seconds:g}: a number of seconds above 0 is expected.")
    host, port = _host_and_port(coordinator)
    return Meeting(host, port, processes, process, seconds)


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, digits = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    is_port = digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) < 65536
    if not host or not is_port or any(character.isspace() or character in "/[]" for character in host):
        raise ConfigError(f"--coordinator {text!r}: HOST:PORT is expected, such as 10.0.0.1:1234 or [::1]:1234.")
    return host, int(digits)


def written(host: str, port: int) -> str:
    """An address as JAX takes it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
