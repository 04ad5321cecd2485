"""What made embeddings that are kept on disk, as one line, and the refusal to use them with any other.

Not here: the embeddings (`search.py`, `megaface.py`), and caches, which are named after what made them
(`recognizer/cached_embedder.py`).
"""

import argparse
from pathlib import Path
from typing import Any

from experiments.common import pipeline
from faces.errors import ConfigError
from faces.schema import flatten
from recognizer.detectors import EDITION, digest
from recognizer.model import Model


def made_by(model: Model, options: argparse.Namespace, of_one_face: bool = False) -> str:
    """Weights, detector and preprocessing, as one line.

    Args:
        model: with the preprocessing that the command line asks for.
        options: as of `pipeline.check_options`.
        of_one_face: which face of a photograph is meant belongs to it.
    """
    made: dict[str, Any] = {"network": model.name, "weights": model.description.origin.sha256[:16]}
    made["detector"] = options.detector
    if options.detector != pipeline.NONE:
        made |= {"detector's edition": EDITION, "detector's weights": digest(options.detector_weights)[:16]}
        made |= {"select": options.select, "undetected": options.undetected} if of_one_face else {}
    return "; ".join(f"{key} {value}" for key, value in (made | flatten(model.preprocessing)).items())


def check_same(place: Path, stored: str, here: str) -> None:
    """Refuse embeddings that were made by anything else than what is at hand.

    Args:
        place: where they lie, for the message.
        stored, here: as `made_by`.
    Raises:
        ConfigError: they were; the message says in what they differ.
    """
    theirs, ours = stored.split("; "), here.split("; ")
    if theirs != ours:
        of_stored, of_this = (
            ", ".join(part for part in one if part not in other)
            for one, other in ((theirs, ours), (ours, theirs))
        )
        if of_stored:
            difference = f"was made by {of_stored}, " + (f"and here is {of_this}" if of_this else "which is not here")
        else:
            difference = f"was made without {of_this}, which is here"
        raise ConfigError(
            f"{place}: {difference}; give the same weights and options, or enrol or "
            "compute anew."
        )
