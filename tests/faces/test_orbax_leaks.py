"""A checkpoint leaves nothing in memory, however many a run takes."""

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tensorstore
from orbax.checkpoint._src.serialization import tensorstore_utils

from faces import orbax_leaks
from tests.faces.test_checkpoint import save, state

ARRAYS = {str(number): np.zeros(2, np.float32) for number in range(40)}


def test_a_checkpoint_leaves_no_object_behind(tmp_path: Path):
    def left_by(folder: str, checkpoints: int) -> int:
        gc.collect()
        before = len(gc.get_objects())
        save(tmp_path / folder, *(state(step, {}, True) for step in range(1, checkpoints + 1)))
        gc.collect()
        return len(gc.get_objects()) - before

    left_by("first", 4)
    few, many = left_by("few", 4), left_by("many", 20)
    assert many - few < 100, "as Orbax counts bytes, 24 lists a checkpoint stay behind"


def test_a_checkpoint_leaves_no_text_behind(tmp_path: Path):
    def left_by(folder: str, checkpoints: int) -> int:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        save(tmp_path / folder, *(state(step, ARRAYS, True) for step in range(1, checkpoints + 1)))
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before

    tracemalloc.start()
    try:
        left_by("first", 3)
        few, many = left_by("few", 3), left_by("many", 13)
    finally:
        tracemalloc.stop()
    assert many - few < 60_000, "as Orbax resolves folders, each of 10 checkpoints leaves some 13 KB behind"


@pytest.mark.parametrize("path", ["/a/b/", "/a b/ckpt.1/"])
def test_a_folder_is_described_as_tensorstore_does(path: str):
    orbax_leaks.mend()
    given = {"driver": "file", "path": path}
    assert tensorstore_utils.ts.KvStore.Spec(given).to_json() == tensorstore.KvStore.Spec(given).to_json() == given
