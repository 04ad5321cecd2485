"""Two questions that Orbax asks TensorStore, answered here, since TensorStore never gives back its answers' memory.

TensorStore's Python binding makes lists, dicts and strings of JSON and keeps them for as long as the process lives
(tensorstore 0.1.86). Orbax (orbax-checkpoint 0.12.8) asks twice a write and twice a read how many bytes were moved, to
log a rate that nobody here looks at: some 70 KB a checkpoint. And it asks for each array what the place of the
checkpoint's files looks like in full, which for a folder of this machine is what it has just said itself: 0.27 KB an
array, 70 KB a checkpoint of a network. `tests/faces/test_orbax_leaks.py` holds that nothing remains. Where a later
Orbax no longer asks, nothing is changed.

Not here: checkpoints (`checkpoint.py`).
"""

from typing import Any

import tensorstore
from orbax.checkpoint._src.serialization import tensorstore_utils

_COUNT, _TENSORSTORE = "get_tensorstore_raw_bytes", "ts"


class _With:
    """An object with some of its attributes replaced."""

    def __init__(self, of: Any, **replaced: Any):
        self.__dict__.update(replaced, _of=of)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)


def _spec(given: Any) -> Any:
    """`tensorstore.KvStore.Spec`; a folder of this machine is described by what it was given."""
    spec = tensorstore.KvStore.Spec(given)
    is_folder = isinstance(given, dict) and given.keys() == {"driver", "path"} and given["driver"] == "file"
    return _With(spec, to_json=lambda: dict(given)) if is_folder else spec


def mend() -> None:
    """Have Orbax ask neither, from now on in this process; what it writes and reads is the same."""
    if hasattr(tensorstore_utils, _COUNT):
        setattr(tensorstore_utils, _COUNT, lambda direction=None: 0)
    if getattr(tensorstore_utils, _TENSORSTORE, None) is tensorstore:
        setattr(tensorstore_utils, _TENSORSTORE, _With(tensorstore, KvStore=_With(tensorstore.KvStore, Spec=_spec)))
