"""Exceptions that a person can act on: each message is one sentence that names the file, the line and the fix.

The mains of `experiments/` turn every `FacesError` into that sentence on standard error and exit code 2, without a
traceback. Anything else that escapes is a defect of ours and keeps its traceback.
"""

from collections.abc import Sequence

from faces.printable import sentence


def option(name: str, value: object = True) -> str:
    """How a command's option is given and a program's argument of that name, as a part of a sentence.

    `option("network", "magface")` is `--network magface (network="magface" in a program)`.
    """
    keyword = name.replace("-", "_")
    if value is True:
        return f"--{name} ({keyword}=True in a program)"
    return f'--{name} {value} ({keyword}="{value}" in a program)'


class FacesError(Exception):
    """Base of all errors that a user, not a programmer, can mend.

    The message may quote files and names from outside: it is kept on one line, without codes that command a terminal,
    and no longer than a person reads, wherever it is printed.
    """

    def __init__(self, message: str = ""):
        super().__init__(sentence(message))


class ConfigError(FacesError):
    """A config file or an override that does not fit the schema."""


class DataError(FacesError):
    """A file or folder of images, records or pairs that cannot be used as it is."""


class DataStalled(DataError):
    """Batches that do not come: whatever they are read from has not answered for long."""


class ImageError(DataError):
    """One image file that cannot be decoded; `prepare` puts it in quarantine and goes on."""


class FaceNotFound(DataError):
    """Photographs in which a face was asked for and none is found.

    Args:
        message: names them.
        names: of the photographs, as they are named there.
        rows: their places, from 0, among the photographs that were given.
    """

    def __init__(self, message: str, names: Sequence[str] = (), rows: Sequence[int] = ()):
        super().__init__(message)
        self.names, self.rows = tuple(names), tuple(rows)


class WeightsError(FacesError):
    """A file of weights that is damaged, foreign or holds more than data."""


class EvaluationError(FacesError):
    """A number that may not be printed: images are missing, folds are empty, scores are not finite."""


class OutputError(FacesError):
    """A place that results cannot be written to, or may not be."""


class CheckpointError(FacesError):
    """A checkpoint that is absent, incomplete or belongs to another config."""


class TrainingStopped(FacesError):
    """Training collapsed or became non-finite; the message says which and what to change."""


class OutOfMemory(FacesError):
    """Too little memory, of a device or of the host; the message says what takes most of it, and what to change."""
