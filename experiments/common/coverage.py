"""No number comes out of images that were passed over: what is missing or shows no face refuses it, with the way on.

Not here: the rules of each protocol (`faces.evaluate`).
"""

import argparse
from collections.abc import Callable, Sequence

from faces.cut_faces import Cut
from faces.errors import EvaluationError
from faces.evaluate.verification import few_names

PARTIAL = "--allow-missing to leave them out and get a number that is called partial"


def refuse_missing(where: object, missing: Sequence[str], what: str, options: argparse.Namespace) -> None:
    """Refuse a set whose images are not all there, before anything is looked at.

    Args:
        where: the set or folder, for the message.
        missing: names of the images.
        what: the images that `missing` are some of.
        options: `allow_missing`.
    Raises:
        EvaluationError: some are missing, and may not be.
    """
    if missing and not options.allow_missing:
        raise EvaluationError(
            f"{where}: {len(missing):,} of {what} are missing ({few_names(missing)}); add them, or {PARTIAL}."
        )


def undetected_rows(
    where: object, cut: Cut, name_of: Callable[[int], str], what: str, options: argparse.Namespace
) -> tuple[int, ...]:
    """Rows of the images that count for nothing, as no face was found in them.

    Args:
        where: the set or folder, for the message.
        cut: what was found.
        name_of: row -> name of the image.
        what: "photographs", or what they are.
        options: `undetected` and `allow_missing`.
    Raises:
        EvaluationError: there are some, and may not be.
    """
    lost = cut.undetected if options.undetected == "refuse" else ()
    if lost and not options.allow_missing:
        refuse_undetected(where, [name_of(row) for row in lost], f"{cut.seen:,} {what}")
    return lost


def refuse_undetected(where: object, names: Sequence[str], of: str) -> None:
    """Refuse the number for the images of these names; `of` says of how many which images."""
    raise EvaluationError(
        f"{where}: no face was found in {len(names):,} of {of} ({few_names(names)}), which are there; look at them, "
        f"say --undetected centre_crop to take the middle of such a picture, as FaceNet does, or {PARTIAL}."
    )
