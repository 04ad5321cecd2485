"""The scripts of `launch/`, with stand-ins for the programs that they start."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from experiments import facenet
from faces.meeting import meeting

ROOT = Path(__file__).parents[1]
PRINT = '#!/bin/bash\necho "$(basename "$0")" "$@" >> "$CALLS"\n'


class Ran:
    """What came of a script."""

    def __init__(self, folder: Path, words: list[str], programs: dict[str, str], **environment: str) -> None:
        for name, body in programs.items():
            (folder / name).write_text(PRINT + body)
            (folder / name).chmod(0o755)
        calls = folder / "calls"
        calls.touch()
        given = {"PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(calls), **environment}
        self.done = subprocess.run(["bash", *words], cwd=ROOT, env=given, capture_output=True, text=True, timeout=30)
        self.calls = calls.read_text().splitlines()


@pytest.mark.parametrize(("code", "requeued"), [(0, False), (2, False), (75, True), (69, True), (137, True)])
def test_slurm_starts_again_what_was_stopped_and_not_what_has_failed(tmp_path: Path, code: int, requeued: bool):
    programs = {"srun": f"exit {code}", "scontrol": ""}
    ran = Ran(tmp_path, ["launch/slurm.sh", "facenet", "--out", "a b"], programs, SLURM_JOB_ID="7")
    command = "srun --kill-on-bad-exit=0 python -m experiments.facenet --out a b --coordinator auto"
    assert ran.calls == [command, *(["scontrol requeue 7"] if requeued else [])] and ran.done.returncode == code


def test_slurm_resumes_at_a_later_start_what_has_begun(tmp_path: Path):
    programs, words = {"srun": "exit 69", "scontrol": ""}, ["launch/slurm.sh", "arcface", "--out", str(tmp_path / "o")]
    later = {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"}
    assert Ran(tmp_path, words, programs, **later).calls[0].endswith("--coordinator auto")
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "config.toml").touch()
    assert Ran(tmp_path, words, programs, **later).calls[2].endswith("--coordinator auto --resume")
    later["SLURM_RESTART_COUNT"] = "50"
    assert len(Ran(tmp_path, words, programs, **later).calls) == 5  # and is not queued once more
    ran = Ran(tmp_path, words[:2], programs, **later)
    assert ran.done.returncode == 2 and "--out is missing" in ran.done.stderr


def test_a_slice_of_a_tpu_is_asked_for_its_first_address_and_its_hosts(tmp_path: Path):
    answers = 'case "$*" in *len*) echo 4;; *describe*) echo 10.0.0.2;; esac'
    ran = Ran(tmp_path, ["launch/tpu.sh", "slice", "zone", "facenet", "--out", "a b"], {"gcloud": answers})
    assert ran.done.returncode == 0 and "--worker all" in ran.calls[-1]
    command = r"python -m experiments.facenet --out a\ b --coordinator 10.0.0.2:8476 --processes 4 --process $(curl"
    assert command in ran.calls[-1] and ran.calls[-1].endswith("agent-worker-number)")


def test_processes_on_this_machine(tmp_path: Path):
    python = 'echo "process ${@: -1}"\n[ "${@: -1}" != 1 ] || exit 75'
    ran = Ran(tmp_path, ["launch/loopback.sh", "3", "facenet", "--out", "x"], {"python": python}, PORT="1234")
    common = "python -m experiments.facenet --out x --coordinator 127.0.0.1:1234 --processes 3 --process"
    assert sorted(ran.calls) == [f"{common} {number}" for number in range(3)] and ran.done.returncode == 75
    assert ran.done.stdout.splitlines()[:2] == ["process 0", "--- process 1"]


@pytest.mark.parametrize("script", ["slurm.sh", "tpu.sh", "loopback.sh"])
def test_without_arguments_each_says_how_it_is_used(tmp_path: Path, script: str):
    ran = Ran(tmp_path, [f"launch/{script}"], {})
    assert ran.done.returncode == 2 and ran.done.stderr.startswith("usage: ")


def test_pods_find_one_another_and_make_one_run(tmp_path: Path):
    """Kubernetes itself is not at hand: the file is read, and a pod's command run, with a stand-in for python."""
    assert "`kubectl apply -f launch/job.yaml`" in (ROOT / "docs" / "launch.md").read_text()
    service, job = yaml.safe_load_all((ROOT / "launch" / "job.yaml").read_text())
    assert (service["apiVersion"], service["kind"]) == ("v1", "Service")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"]
    assert pod["restartPolicy"] == "OnFailure"  # codes 69 and 75 start a pod again
    # A pod of an indexed job is called JOB-INDEX, and has an address under its subdomain, that of a headless service.
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert pod["subdomain"] == service["metadata"]["name"]
    (container,) = pod["containers"]
    (volume,), (mount,) = pod["volumes"], container["volumeMounts"]
    assert volume["name"] == mount["name"] and "persistentVolumeClaim" in volume

    (script,) = container["args"]
    script = script.replace(mount["mountPath"], str(tmp_path / "data"))
    ran = Ran(tmp_path, ["-c", script], {"python": ""})
    (tmp_path / "data" / "run").mkdir(parents=True)
    (tmp_path / "data" / "run" / "config.toml").touch()
    again = Ran(tmp_path, ["-c", script], {"python": ""})
    assert container["command"] == ["sh", "-c"] and ran.done.returncode == again.done.returncode == 0
    for words, resumes in zip((line.split() for line in again.calls), (False, True), strict=True):
        assert words[:3] == ["python", "-m", "experiments.facenet"]
        options, _ = facenet.parse(words[3:])
        assert options.resume == resumes and str(options.out) == str(tmp_path / "data" / "run")
        where = meeting(
            options.coordinator, options.processes, options.process, options.wait, {"JOB_COMPLETION_INDEX": "2"}
        )
        assert where is not None and (where.processes, where.process) == (spec["completions"], 2)
        assert where.host == f"{job['metadata']['name']}-0.{pod['subdomain']}"
