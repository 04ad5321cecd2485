"""Which checkpoints of a run are kept: the newest, every so many steps, and the best by an evaluation.

Not here: taking and removing them (`checkpoint.py`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from faces.errors import ConfigError


@dataclass(frozen=True)
class Keep:
    """What is kept.

    Args:
        newest: how many of the last checkpoints.
        every: for good, those of the steps that this divides; 0: none.
        best: name of the evaluation by whose accuracy one more is kept, the best so far; "": none.
    """

    newest: int = 2
    every: int = 0
    best: str = ""

    @property
    def score(self) -> str:
        """What the log of evaluations calls the accuracy by which the best is chosen."""
        return f"{self.best}_accuracy"

    def of(self, steps: Iterable[int], scores: Mapping[int, float]) -> set[int]:
        """Those of the checkpoints' steps that stay.

        Args:
            steps: of all checkpoints.
            scores: of those that were evaluated; of equal ones the later is the best.
        """
        ordered = sorted(steps)
        stay = set(ordered[-self.newest :])
        if self.every:
            stay |= {step for step in ordered if step % self.every == 0}
        if (best := self.best_of(ordered, scores)) is not None:
            stay.add(best)
        return stay

    def best_of(self, steps: Iterable[int], scores: Mapping[int, float]) -> int | None:
        """The step with the highest score, None where none has one."""
        judged = [(scores[step], step) for step in steps if not math.isnan(scores.get(step, math.nan))]
        return max(judged)[1] if self.best and judged else None

    def most(self, done: int, steps: int) -> int:
        """How many checkpoints a run holds at most at its end, of those from step `done` on.

        Args:
            done: steps that are taken already.
            steps: that the run has.
        """
        return self.newest + bool(self.best) + (steps // self.every - done // self.every if self.every else 0)


def parse(given: Sequence[str], checkpoint_every: int, evaluate_every: int, tests: Iterable[str]) -> Keep:
    """What `--keep` says: newest:K, every:N and best:NAME, each once at most.

    Args:
        given: the words.
        checkpoint_every, evaluate_every: of the run's config.
        tests: names of the evaluations.
    Raises:
        ConfigError: other words, or an N at whose steps no checkpoint is taken, or an evaluation that the run has not.
    """
    names = list(tests)
    kept: dict[str, str] = {}
    for word in given:
        kind, colon, value = word.partition(":")
        if kind not in ("newest", "every", "best") or not colon or not value:
            raise ConfigError(f"--keep {word}: newest:K, every:N or best:NAME is expected.")
        if kind in kept:
            raise ConfigError(f"--keep {word}: {kind} is given twice.")
        if kind != "best" and not (value.isascii() and value.isdigit() and len(value) < 10 and int(value) > 0):
            raise ConfigError(f"--keep {word}: a whole number above 0 is expected after the colon.")
        kept[kind] = value
    keep = Keep(int(kept.get("newest", 2)), int(kept.get("every", 0)), kept.get("best", ""))
    if keep.every and not any(every and keep.every % every == 0 for every in (checkpoint_every, evaluate_every)):
        raise ConfigError(
            f"--keep every:{keep.every}: checkpoints are taken every {checkpoint_every} steps; give a multiple of that."
        )
    if keep.best and keep.best not in names:
        ways = f"the run's are {', '.join(names)}" if names else "the run has none"
        raise ConfigError(f"--keep best:{keep.best}: no --eval has that name; {ways}.")
    if keep.best and not evaluate_every:
        raise ConfigError(f"--keep best:{keep.best}: nothing is evaluated on the way; give --train.evaluate-every N.")
    return keep
