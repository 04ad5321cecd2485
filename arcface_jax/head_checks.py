"""What the class-sharded head refuses: arguments that another program may give to `class_loss` (Sec. 3.1, Eq. 3).

All of it is known before anything is computed, under `jax.jit` too, but for the labels' values.

Not here: the head (`head.py`), labels that are no class in a compiled step, whose loss is nan.
"""

from typing import Any

import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, Mesh

from arcface_jax.centres import check_labels
from faces.errors import ConfigError, DataError


def check_mesh(mesh: Mesh, axis: Any) -> None:
    """Refuse a mesh without that axis, and one whose axes JAX would have the caller place arrays on by type.

    Raises:
        ConfigError: what is wrong, and how such a mesh is made.
    """
    if axis not in mesh.axis_names:
        raise ConfigError(f"axis = {axis!r}: the mesh has {', '.join(map(repr, mesh.axis_names))}; name one of them.")
    if any(kind is not AxisType.Auto for kind in mesh.axis_types):
        count = len(mesh.axis_names)
        raise ConfigError(
            f"the mesh's axes are of the types {mesh.axis_types}, and Auto is expected; make it by "
            f"jax.make_mesh(..., axis_types=(jax.sharding.AxisType.Auto,) * {count})."
        )


def check_shapes(embeddings: Any, centres: Any, labels: Any, valid: Any, width: int, block: int) -> None:
    """Refuse arrays that do not belong together.

    Args:
        embeddings, centres, labels, valid, block: as of `class_loss`.
        width: that centres must have for these embeddings.
    Raises:
        DataError, ConfigError: one sentence with the numbers.
    """
    batch, rows = embeddings.shape[0], centres.shape[0]
    if labels.shape != (batch,):
        raise DataError(f"labels of the shape {labels.shape} for {batch:,} embeddings; one for each is expected.")
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"labels of the type {labels.dtype}: integers, the numbers of classes, are expected.")
    if centres.shape[-1] != width:
        raise DataError(
            f"centres of {centres.shape[-1]:,} values for embeddings of {embeddings.shape[1]:,}; {width:,} are "
            "expected (Eq. (1)'s have the bias as a last column)."
        )
    if np.ndim(valid) == 0 and not 0 < int(valid) <= rows:
        raise DataError(f"valid = {valid}: the centres have {rows:,} rows; a number of them is expected.")
    if np.ndim(valid) > 0 and valid.shape != (rows,):
        raise DataError(f"valid of the shape {valid.shape} for {rows:,} rows of centres; one for each is expected.")
    if block < 0:
        raise ConfigError(f"block = {block}: 0, or a number of classes, is expected.")


def check_known_labels(labels: Any, valid: Any, rows: int) -> None:
    """Refuse labels that are no class, where their values are at hand.

    Raises:
        DataError: a label is none of the rows, or of a row that `valid` says is no class.
    """
    if isinstance(labels, Tracer) or isinstance(valid, Tracer) or not getattr(labels, "is_fully_addressable", True):
        return
    labels = np.asarray(labels)
    check_labels(labels, int(valid) if np.ndim(valid) == 0 else rows)
    if np.ndim(valid) > 0 and getattr(valid, "is_fully_addressable", True):
        none = labels[~np.asarray(valid)[labels]]
        if none.size:
            raise DataError(f"label {none[0]}: `valid` says that this row of the centres is no class.")
