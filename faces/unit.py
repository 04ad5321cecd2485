"""Embeddings on the sphere: rows of length 1.

Not here: thresholds and rates of the scores that they give (`faces.evaluate.scores`).
"""

import numpy as np
from jaxtyping import Float, Int

from faces.errors import EvaluationError


def unit_rows(
    embeddings: Float[np.ndarray, "rows d"], what: str, numbers: Int[np.ndarray, " rows"] | None = None
) -> Float[np.ndarray, "rows d"]:
    """Embeddings at length 1, in their own precision.

    Args:
        embeddings: of any length.
        what: what a row is, for the message of an error.
        numbers: by which that message calls the rows; 0, 1, 2 ... where not given.

    Raises:
        EvaluationError: a row that is zero or not finite.
    """
    length = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings, dtype=np.float64))[:, None]  # (rows, 1)
    wrong = np.flatnonzero(~(np.isfinite(length[:, 0]) & (length[:, 0] > 0)))
    if wrong.size:
        first = wrong[0] if numbers is None else numbers[wrong[0]]
        raise EvaluationError(
            f"{wrong.size:,} of {len(embeddings):,} {what} embeddings are zero or not finite, the first is row "
            f"{first}; check the weights and the images' normalisation."
        )
    return np.divide(embeddings, length, out=np.empty_like(embeddings), casting="same_kind")
