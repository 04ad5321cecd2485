"""What a launcher of many processes tells each in its environment: where the first is, how many there are, which it is.

SLURM's `srun`, Open MPI's `mpirun`, TPU machines of GKE, and jobs of Kubernetes with an index. Nothing is asked over a
network. Each tells as much as it knows; what it does not, such as where the first process of a Kubernetes job is, the
command line says.

Not here: how the processes meet then (`processes.py`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from faces.errors import ConfigError

_PORTS = range(61440, 65536)
"""Those a job's number chooses from, so that two jobs of one machine seldom meet."""
_TPU_PORT = 8476


@dataclass(frozen=True)
class Told:
    """What an environment says; None for what it does not.

    Args:
        launcher: its name.
        coordinator: host and port at which process 0 may listen.
        processes: how many there are.
        process: this one's number, from 0.
    """

    launcher: str
    coordinator: str | None
    processes: int | None
    process: int | None


def told(environment: Mapping[str, str]) -> Told | None:
    """What the launcher of this process says; None where none has started it.

    Raises:
        ConfigError: a variable holds what its launcher would not write.
    """
    for variable, reader in _READERS.items():
        if environment.get(variable):
            return reader(environment)
    return None


def _slurm(environment: Mapping[str, str]) -> Told:
    """Of a step (`srun`), whose variables go before the job's."""
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST")
    job = _number(environment, "SLURM_JOB_ID")
    count = "SLURM_STEP_NUM_TASKS" if environment.get("SLURM_STEP_NUM_TASKS") else "SLURM_NTASKS"
    known = nodes and job is not None
    return Told(
        "SLURM",
        f"{first_host(nodes)}:{_port(job)}" if known and nodes and job is not None else None,
        _number(environment, count),
        _number(environment, "SLURM_PROCID"),
    )


def first_host(nodes: str) -> str:
    """The first host of a list as SLURM writes it: `node[001-004,7],gpu3` is node001 and others.

    Raises:
        ConfigError: it is no such list.
    """
    first = re.split(r",(?![^\[]*\])", nodes)[0]
    host = re.sub(r"\[([^\[\]]*)\]", lambda ranges: re.split("[,-]", ranges[1])[0], first)
    if not re.fullmatch(r"[\w.-]+", host, re.ASCII):
        raise ConfigError(f"SLURM's list of nodes is {nodes!r}: the first host cannot be read from it; give "
                          "--coordinator HOST:PORT.")  # fmt: skip
    return host


def _open_mpi(environment: Mapping[str, str]) -> Told:
    """Of `mpirun`, which is taken to run where process 0 does; its address is in its URI up to version 4."""
    count = _number(environment, "OMPI_COMM_WORLD_SIZE")
    uri = environment.get("OMPI_MCA_orte_hnp_uri", "")
    found = re.match(r"(\d{1,20})\.\d+;(?:tcp://([^,:;]+)|tcp6://\[([^,\]]+))", uri, re.ASCII)
    coordinator = None
    if found:
        host = found[2] or f"[{found[3]}]"
        coordinator = f"{host}:{_port(int(found[1]) // 4096)}"  # its numbers of jobs are multiples
    elif count is not None and count == _number(environment, "OMPI_COMM_WORLD_LOCAL_SIZE"):
        coordinator = f"127.0.0.1:{_port(_hash(environment.get('PMIX_NAMESPACE', '')))}"
    return Told("Open MPI", coordinator, count, _number(environment, "OMPI_COMM_WORLD_RANK"))


def _tpu(environment: Mapping[str, str]) -> Told:
    """Of a TPU slice of GKE."""
    hosts = environment["TPU_WORKER_HOSTNAMES"].split(",")
    return Told("TPU", f"{hosts[0].strip()}:{_TPU_PORT}", len(hosts), _number(environment, "TPU_WORKER_ID"))


def _kubernetes(environment: Mapping[str, str]) -> Told:
    """Of a job with an index; its first process's name and their number are in no variable."""
    return Told("Kubernetes", None, None, _number(environment, "JOB_COMPLETION_INDEX"))


_READERS: dict[str, Callable[[Mapping[str, str]], Told]] = {
    "OMPI_COMM_WORLD_RANK": _open_mpi,  # first, as SLURM may hold the job in which mpirun runs
    "SLURM_PROCID": _slurm,
    "TPU_WORKER_HOSTNAMES": _tpu,
    "JOB_COMPLETION_INDEX": _kubernetes,
}
"""By the variable that each sets in every process."""


def _number(environment: Mapping[str, str], variable: str) -> int | None:
    text = environment.get(variable)
    if not text:
        return None
    if not re.fullmatch(r"\d{1,12}", text, re.ASCII):
        raise ConfigError(f"{variable}={text!r}: a whole number is expected of the launcher; give --coordinator, "
                          "--processes and --process.")  # fmt: skip
    return int(text)


def _port(job: int) -> int:
    return _PORTS[job % len(_PORTS)]


def _hash(text: str) -> int:
    return int.from_bytes(text.encode()[-4:], "big")
