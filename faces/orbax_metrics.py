"""Orbax's count of the bytes that TensorStore has moved, switched off, since each count leaks.

Orbax asks TensorStore for its metrics twice a write and twice a read, to log a rate that nobody here looks at.
TensorStore's Python binding never gives back the lists that it answers with: 24 lists and some 70 KB a checkpoint, for
as long as a run lasts (orbax-checkpoint 0.12.8 with tensorstore 0.1.86; `tests/faces/test_orbax_metrics.py` holds that
nothing remains). Where a later Orbax no longer has that function, there is nothing to switch off.

Not here: checkpoints (`checkpoint.py`).
"""

from orbax.checkpoint._src.serialization import tensorstore_utils

_COUNT = "get_tensorstore_raw_bytes"


def switch_off() -> None:
    """Have Orbax count no bytes from now on in this process; what it writes and reads is the same."""
    if hasattr(tensorstore_utils, _COUNT):
        setattr(tensorstore_utils, _COUNT, lambda direction=None: 0)
