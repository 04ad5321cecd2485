"""Names of a list against names on disk, where the two spell one name in two ways.

A file system may decompose letters (macOS: "e" and an accent, where a list has "é") or mind no case. The name as it is
written counts first; else the only one that differs from it in Unicode's form or in case alone; where several do, none
is guessed.

Not here: lists, and which extension a file has.
"""

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from faces.errors import DataError


def folded(name: str) -> str:
    """What names have in common that differ in Unicode's form or in case alone."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def alike(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that a person would take for one."""
    groups: dict[str, list[str]] = {}
    for name in names:
        compatible = unicodedata.normalize("NFKC", name).casefold()
        groups.setdefault(unicodedata.normalize("NFKC", compatible), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


class Names:
    """Names to look up in.

    Args:
        names: distinct.
        place: what holds them, for the message of an error.
    """

    def __init__(self, names: Iterable[str], place: str):
        self._names, self._place = frozenset(names), place
        self._folded: dict[str, list[str]] | None = None

    def find(self, wanted: str) -> str | None:
        """The name that is meant; None where there is none.

        Raises:
            DataError: several could be meant.
        """
        if wanted in self._names:
            return wanted
        if self._folded is None:  # the first name that is spelt otherwise
            self._folded = {}
            for name in sorted(self._names):
                self._folded.setdefault(folded(name), []).append(name)
        alike = self._folded.get(folded(wanted), [])
        if len(alike) > 1:
            raise DataError(
                f'{self._place}: {alike[0]!r} and {alike[1]!r} could both be "{wanted}", from which they differ in '
                "case or in how Unicode spells them alone; rename one."
            )
        return alike[0] if alike else None


class NamedFiles:
    """Files and folders below a folder, by paths of a list; each folder is listed once.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path):
        self._root = root
        self._names: dict[Path, Names] = {}

    def find(self, path: str) -> Path | None:
        """Where a path of the list lies; None where nothing does.

        Raises:
            DataError: several files or folders could be meant.
        """
        place = self._root
        for part in path.split("/"):
            name = self._names_in(place).find(part)
            if name is None:
                return None
            place /= name
        return place

    def file(self, path: str) -> Path | None:
        """As `find`, and None where no file lies there."""
        place = self.find(path)
        return place if place is not None and place.is_file() else None

    def _names_in(self, folder: Path) -> Names:
        if folder not in self._names:
            try:
                names = [entry.name for entry in folder.iterdir()]
            except OSError:
                names = []  # no folder there, or none that may be read: what it should hold is missing
            self._names[folder] = Names(names, str(folder))
        return self._names[folder]
