"""Similarities of people who may not match, and the threshold that lets no more than a fraction of them pass.

`metrics.py` counts over lists of pairs that hold every score. Where comparisons are too many to keep, a million
distractors against every probe, the highest scores of the wrong ones are all that a threshold needs.

Not here: lists of pairs (`metrics.py`), protocols.
"""

import numpy as np
from jaxtyping import Float

from faces.errors import EvaluationError


def allowed_accepts(rate: float, comparisons: int) -> int:
    """The largest number of wrong accepts whose share of `comparisons` is at most `rate`.

    Raises:
        EvaluationError: a rate outside [0, 1].
    """
    if not 0.0 <= rate <= 1.0:
        raise EvaluationError(f"a false accept rate lies between 0 and 1, but {rate} was asked for.")
    # A decimal rate and count / comparisons are both correctly rounded, so 3 of 3,000 is within 1e-3 exactly.
    count = min(comparisons, int(rate * comparisons) + 1)
    while count > 0 and count / comparisons > rate:
        count -= 1
    return count


def threshold_at_rate(wrong: Float[np.ndarray, " scores"], comparisons: int, rate: float) -> tuple[float, float]:
    """The smallest score to accept so that at most `rate` of the wrong comparisons pass, and the rate then met.

    Equal scores pass together. As in `metrics.val_at_far` nothing is interpolated: the threshold is the next number
    above the highest wrong score that may not pass, in the precision of the scores; minus infinity where all may.

    Args:
        wrong: the highest scores of comparisons that should not match, in any order: all of them, or at least one
            more than `allowed_accepts(rate, comparisons)`.
        comparisons: how many such comparisons there were.
        rate: the false accept rate, in [0, 1].

    Raises:
        EvaluationError: no comparison, too few scores, or a rate outside [0, 1].
    """
    if comparisons < 1:
        raise EvaluationError("a false accept rate needs comparisons that should not match, but there is none.")
    allowed = allowed_accepts(rate, comparisons)
    if wrong.size < min(allowed + 1, comparisons):
        raise EvaluationError(
            f"a false accept rate of {rate} over {comparisons:,} comparisons needs the {allowed + 1:,} highest scores, "
            f"but {wrong.size:,} were kept; keep more."
        )
    if allowed == comparisons:
        return -np.inf, 1.0
    first_refused = np.partition(wrong, wrong.size - allowed - 1)[wrong.size - allowed - 1]
    # In the scores' own precision: a float64 just above a float32 would be rounded down to it when compared.
    threshold = float(np.nextafter(first_refused, wrong.dtype.type(np.inf)))
    return threshold, int(np.sum(wrong >= threshold)) / comparisons
