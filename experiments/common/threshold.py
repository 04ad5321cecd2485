"""The option of a cosine from which on faces are taken for one person's, and where it comes from without the option.

Not here: what is done with it; choosing one (`experiments.thresholds`).
"""

import argparse

from faces.errors import ConfigError
from recognizer.model import Model

WAY = "experiments.thresholds chooses one on labelled faces"


def add_threshold(parser: argparse.ArgumentParser) -> None:
    """`--threshold`, a cosine."""
    parser.add_argument("--threshold", type=float, metavar="COS",
                        help=f"another cosine than the model's own; {WAY}")  # fmt: skip


def check_threshold(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with the parser's error where it is no cosine."""
    if options.threshold is not None and not -1 <= options.threshold <= 1:
        parser.error("--threshold is a cosine, -1 to 1")


def clustering_threshold(given: float | None, model: Model) -> float:
    """Mean cosine from which on two clusters are one.

    Args:
        given: on the command line; None for the model's own.
        model: any.
    Raises:
        ConfigError: neither is there.
    """
    return _either(given, model.clustering_threshold, model)


def verification_threshold(given: float | None, model: Model) -> float:
    """Cosine from which on two faces are one person's; as `clustering_threshold`."""
    return _either(given, model.threshold, model)


def _either(given: float | None, own: float | None, model: Model) -> float:
    if given is not None:
        return given
    if own is None:
        raise ConfigError(
            f"{model.description.origin.file}: no cosine was chosen for this model; give one by --threshold ({WAY})."
        )
    return own
