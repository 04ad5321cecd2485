"""What both papers' train steps share in the tests: a batch of random people, and the step's compiled program.

Not here: the papers' configs and networks (`setting.py` of each).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from benchmarks import hlo
from faces.mesh import sharded

MOST_SCALARS = 16
"""Numbers that a step may send beside what it must: means for the log, and what decides between two ways to mine."""


def portraits(rng: np.random.Generator, identities: np.ndarray, people: int, size: tuple[int, int]) -> np.ndarray:
    """Random pixels, uint8 (images, H, W, 3): each person's own, with noise on them."""
    of_person = rng.integers(0, 256, size=(people, *size, 3))
    noise = rng.integers(-60, 61, size=(len(identities), *size, 3))
    return np.clip(of_person[identities] + noise, 0, 255).astype(np.uint8)


def compiled(step: Any, state: Any, images: int, size: tuple[int, int], mesh: Mesh) -> tuple[str, int]:
    """The optimised program of a step for so many images, and how many arrays the state has."""
    batch = {
        "images": jax.ShapeDtypeStruct((images, *size, 3), jnp.uint8, sharding=sharded(mesh)),
        "identities": jax.ShapeDtypeStruct((images,), jnp.int32, sharding=sharded(mesh)),
    }
    return step.lower(state, batch).compile().as_text(), len(jax.tree.leaves(state))


def check_exchanges(text: str, gathered: int, summed: int, scattered: int = 0) -> None:
    """What the devices send each other, once each: bytes of what is planned, and of sums a few scalars more."""
    assert all(one.times == 1 for one in hlo.collectives(text))
    found = hlo.bytes_by_kind(text)
    assert 0 <= found.pop("all-reduce") - summed <= 4 * MOST_SCALARS
    assert found == {"all-gather": gathered} | ({"reduce-scatter": scattered} if scattered else {})


def check_in_place(text: str, arrays: int) -> None:
    """The state stays in its memory, and the host is not asked."""
    assert hlo.donated(text) == set(range(arrays))
    assert hlo.host_transfers(text) == []
