"""A checkpoint leaves nothing in memory, however many a run takes."""

import gc
from pathlib import Path

from tests.faces.test_checkpoint import save, state


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
