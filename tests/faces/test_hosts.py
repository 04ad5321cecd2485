"""Two processes of two devices each, joined on loopback: what they divide, agree on, and tell each other."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from faces import embed
from faces.errors import ConfigError
from faces.mesh import make_mesh
from faces.partners import LOST
from tests.faces.test_embed import DATA, PARAMS, STATS, linear

REPOSITORY = Path(__file__).parents[2]
IMAGES = np.random.default_rng(1).integers(0, 256, (13, 4, 6, 3), dtype=np.uint8)

PROGRAM = '''
"""One process: embeds, saves four checkpoints, restores past two that are damaged, and meets a disk that is full."""

import resource
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from faces import checkpoint_folder, cli, embed, processes
from faces.checkpoint import Checkpoints
from faces.keep import Keep
from faces.meeting import Meeting
from faces.mesh import make_mesh, replicated, sharded
from faces.train_state import TrainState
from tests.faces.configs import tiny
from tests.faces.test_embed import DATA, PARAMS, STATS, linear
from tests.faces.test_hosts import IMAGES


def main(arguments):
    number, port, folder = int(arguments[0]), int(arguments[1]), Path(arguments[2])
    meeting = Meeting("127.0.0.1", port, 2, number, 60.0)
    _, watch = processes.join(meeting, {}, lambda: ("", {}))
    with watch.guarding(lambda: "go on with: this"):
        embedded(number, folder)
        checkpointed(number, folder / "checkpoints")


def embedded(number, folder):
    place, rows = jax.make_array_from_callback, []

    def noted(*given):
        array = place(*given)
        rows.extend(shard.index[0].start for shard in array.addressable_shards for _ in shard.data)
        return array

    embed.BLOCK_ON_CPU, jax.make_array_from_callback = 1, noted
    embedder = embed.make_embedder(linear, DATA, True, make_mesh())
    embeddings = embedder(PARAMS, STATS, IMAGES)
    jax.make_array_from_callback = place
    np.savez(folder / f"{number}.npz", embeddings=embeddings, rows=rows)


def state(step):
    """Centres are divided among the processes' devices."""

    def made():
        centres = jnp.arange(40, dtype=jnp.float32).reshape(8, 5) + step
        return TrainState(jnp.int32(step), {"bias": jnp.ones(3)}, {}, centres, {}, jax.random.key(0))

    mesh = make_mesh()
    whole = replicated(mesh)
    return jax.jit(made, out_shardings=TrainState(whole, whole, {}, sharded(mesh), {}, whole))()


def checkpointed(number, folder):
    with Checkpoints(folder, Keep(newest=9)) as checkpoints:
        for step in (3, 5, 7):
            checkpoints.save(state(step), {"place": step}, tiny())
        checkpoints.wait()
        if number == 0:
            (folder / "7" / "tensors.json").write_text("{}")
        else:
            read = checkpoint_folder.read_json
            checkpoint_folder.read_json = lambda path: read(path if path.parts[-3] != "5" else folder)
        restored, place = checkpoints.restore(state(0), tiny())
        print("restored", int(restored.step), place["place"], flush=True)
        if number == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
        checkpoints.save(state(9), {"place": 9}, tiny())
        while True:  # the training goes on
            checkpoints.check()
            time.sleep(0.01)


cli.run(main)
'''


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int], list[str]]:
    """The folder, and of each process the exit code and what it has printed."""
    folder = tmp_path_factory.mktemp("hosts")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=2"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, number, port, str(folder)],
            env={**os.environ, "XLA_FLAGS": flags, "PYTHONWARNINGS": "ignore"},
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in "01"
    ]
    try:
        printed = [process.communicate(timeout=100)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return folder, [process.returncode for process in processes], printed


Both = tuple[Path, list[int], list[str]]


def test_each_process_embeds_its_part_and_all_have_all(both: Both):
    """Thirteen images in blocks of four: one to each device of each process, and three rows of padding at the end."""
    one = embed.make_embedder(linear, DATA, True, make_mesh(4), block=1)(PARAMS, STATS, IMAGES)
    given = [np.load(both[0] / f"{number}.npz") for number in range(2)]
    for of_process in given:
        np.testing.assert_array_equal(of_process["embeddings"], one)
    assert [of_process["rows"].tolist() for of_process in given] == [[0, 1] * 4, [2, 3] * 4]


def test_all_go_back_to_the_same_checkpoint_whoever_finds_the_damage(both: Both):
    _, _, printed = both
    assert all("restored 3 3\n" in said for said in printed), "\n".join(printed)
    told = r"damaged are 7: tensors\.json is not as it was written; 5: it cannot be read, in process 1; the newest"
    assert re.search(told, " ".join(printed[0].split()))


def test_a_write_that_fails_in_one_process_ends_all_in_a_sentence(both: Both):
    folder, codes, printed = both
    words = f"{folder / 'checkpoints'}: cannot be written, the disk is full; make room"
    assert codes == [LOST, 2] and printed[1].splitlines()[-1].startswith(f"error: {words}"), "\n".join(printed)
    assert re.search(rf"error: process 1 on \S+ has stopped: {re.escape(words)}", printed[0])
    assert printed[0].endswith("go on with: this\n") and not any("Traceback" in said for said in printed)


@pytest.mark.parametrize(("count", "shares"), [(1, "1, 0"), (3, "2, 1"), (None, "2, 3")])
def test_processes_with_other_numbers_of_devices_are_refused(
    count: int | None, shares: str, monkeypatch: pytest.MonkeyPatch
):
    """They read equal parts of a batch."""
    devices = [SimpleNamespace(process_index=process) for process in (0, 0, 1, 1, 1)]
    monkeypatch.setattr(jax, "devices", lambda: devices)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ConfigError, match=f"{count or 5} devices asked for, of which the 2 processes have {shares}:"):
        make_mesh(count)
