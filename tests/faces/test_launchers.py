"""Environments as launchers make them: who is first, how many there are, and which this one is."""

import pytest

from faces import meeting
from faces.errors import ConfigError
from faces.launchers import Told, first_host, told

SLURM = {"SLURM_JOB_ID": "5000", "SLURM_STEP_NODELIST": "gpu[03-06]", "SLURM_NTASKS": "4", "SLURM_PROCID": "2"}
OPEN_MPI = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_RANK": "7",
}
TPU = {"TPU_WORKER_HOSTNAMES": "t-0.tpu,t-1.tpu", "TPU_WORKER_ID": "1"}


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("node001", "node001"),
        ("node001,host2", "node001"),
        ("node[001-0015],host2", "node001"),
        ("node[007,010-015],host2", "node007"),
        ("rack[2-3]n[01,04-09].cluster", "rack2n01.cluster"),
        ("a-b-7,c", "a-b-7"),
    ],
)
def test_the_first_of_a_list_of_nodes(nodes: str, host: str):
    assert first_host(nodes) == host


@pytest.mark.parametrize("nodes", ["", ",a", "node[1-2", "a b", "a]b[", "\u0661"])
def test_what_is_no_list_of_nodes(nodes: str):
    with pytest.raises(ConfigError, match="list of nodes"):
        first_host(nodes)


def test_what_launchers_tell():
    assert told({}) is None and told({"SLURM_JOB_ID": "1", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}) is None
    assert told(SLURM) == Told("SLURM", "gpu03:62344", 4, 2)
    step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_NODELIST": "gpu[01-09]"}
    assert told({**SLURM, **step}) == Told("SLURM", "gpu03:62344", 2, 2)
    assert told(OPEN_MPI) == Told("Open MPI", f"10.96.0.1:{61440 + 1531576320 // 4096 % 4096}", 8, 7)
    v6 = {**OPEN_MPI, "OMPI_MCA_orte_hnp_uri": "4096.0;tcp6://[fe80::b9b,2620:10d::2]:43370"}
    assert told({**v6, **SLURM}) == Told("Open MPI", "[fe80::b9b]:61441", 8, 7)
    one_host = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}
    found = told(one_host)
    assert found is not None and found.coordinator is not None and found.coordinator.startswith("127.0.0.1:6")
    assert told({**one_host, "OMPI_COMM_WORLD_LOCAL_SIZE": "1"}) == Told("Open MPI", None, 2, 0)
    assert told(TPU) == Told("TPU", "t-0.tpu:8476", 2, 1)
    assert told({"JOB_COMPLETION_INDEX": "3"}) == Told("Kubernetes", None, None, 3)


@pytest.mark.parametrize("text", ["x", "-1", "9" * 13, "\u0661"])
def test_numbers_that_no_launcher_writes(text: str):
    for variable in ("SLURM_PROCID", "SLURM_JOB_ID", "SLURM_NTASKS"):
        with pytest.raises(ConfigError, match=variable):
            told({**SLURM, variable: text})


def test_options_filled_in_from_the_environment():
    whole = meeting.meeting("auto", None, None, 5.0, SLURM)
    assert whole == meeting.Meeting("gpu03", 62344, 4, 2, 5.0)
    assert meeting.meeting("h:1", None, None, None, SLURM) == meeting.Meeting("h", 1, 4, 2, meeting.WAIT)
    assert meeting.meeting("h:1", 3, 0, None, SLURM) == meeting.Meeting("h", 1, 3, 0, meeting.WAIT)
    assert meeting.meeting("h:1", 3, None, None, {"JOB_COMPLETION_INDEX": "1"}) is not None
    assert meeting.meeting(None, None, None, None, SLURM) is None  # a launcher alone starts no run of several
    for given, environment, words in (
        (("auto", None, None, None), {}, "no launcher that is known"),
        (("auto", 2, None, None), {"JOB_COMPLETION_INDEX": "1"}, "--coordinator is missing, which Kubernetes does not"),
        (("h:1", None, None, None), {"JOB_COMPLETION_INDEX": "1"}, "--processes is missing"),
        (("h:1", None, 0, None), {}, "--processes is missing: several"),
    ):
        with pytest.raises(ConfigError, match=words):
            meeting.meeting(*given, environment)
