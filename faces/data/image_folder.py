"""A folder of labelled photographs: one folder a person, `identity/anything.jpg`.

LFW, CASIA-WebFace, VGGFace2 and Pins lay their images out so. Identities are the sub-folders with at least one image,
in the order of their names; images follow in the order of theirs, so that the same folder gives the same labels on
every machine. Which files are images, and which links are followed, is said in `photographs.py`. Everything else is
ignored and listed, images beside the people's folders and folders inside them included.

Not here: formats with labels of their own (`recordio.py`), decoding (`images.py`).
"""

import os
from pathlib import Path

import numpy as np

from faces.data.images import decode_image, read_file
from faces.data.marks import mark_files
from faces.data.photographs import EMPTY, classify, is_folder, printable, scan, unreadable, why_not_followed
from faces.errors import DataError

_BESIDE = "a photograph that is in no person's folder"
_INSIDE = "a folder inside a person's folder"


class FolderSource:
    """An image folder as a `FaceSource`; images are read and decoded when asked for.

    Args:
        root: the folder that holds the identities' folders.

    Attributes:
        name: the path.
        identities: int32 (images,).
        identity_names: the folder's name of each identity.
        ignored: what was passed over, relative to `root`, a folder's with a slash at its end, with the reason.

    Raises:
        DataError: no such folder, or no image in it.
    """

    def __init__(self, root: Path | str):
        self.name = str(root)
        self._root = Path(root)
        self._files: list[str] = []
        self.identity_names: list[str] = []
        self.ignored: dict[str, str] = {}
        labels: list[int] = []
        for person in self._people():
            files = self._images_of(person)
            self._files += files
            if files:
                labels += [len(self.identity_names)] * len(files)
                self.identity_names.append(printable(person))
            else:
                self.ignored.setdefault(printable(person) + "/", EMPTY)
        if not self._files:
            some = "".join(f" ({name}: {reason})" for name, reason in list(self.ignored.items())[:1])
            raise DataError(
                f"{root}: no image found{some}; a folder for each person with that person's images in it is expected, "
                "IDENTITY/IMAGE.jpg."
            )
        self.identities = np.array(labels, np.int32)  # (images,)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> np.ndarray:
        return decode_image(self.encoded(index), str(self._root / self._files[index]))

    def encoded(self, index: int) -> bytes:
        """The file of image `index`."""
        return read_file(self._root / self._files[index], self.source_name(index))

    def marks(self) -> np.ndarray:
        """See `faces.data.source.FaceSource`."""
        return mark_files(str(self._root), self._files)

    def source_name(self, index: int) -> str:
        """Path of image `index` relative to the folder, with slashes."""
        return printable(self._files[index])

    def _people(self) -> list[str]:
        """Names of the people's folders, by name. One folder is one person, whatever links to it."""
        try:
            entries = scan(self._root)
        except FileNotFoundError:
            raise DataError(f"{self._root}: no such folder.") from None
        except OSError as error:
            raise DataError(f"{self._root}: cannot be read as a folder ({error.strerror}).") from None
        root = os.path.realpath(self._root)
        people, links = [], []
        for entry in entries:
            kind, reason = classify(entry)
            if kind == "folder":
                (links if entry.is_symlink() else people).append(entry.name)
            else:
                self._ignore(entry, entry.name, reason or _BESIDE)
        seen = {f"{root}/{name}": printable(name) for name in people}
        for name in links:
            link = f"{self._root}/{name}"
            if reason := why_not_followed(link, seen, [root]):
                self.ignored[printable(name) + "/"] = reason
            else:
                seen[os.path.realpath(link)] = printable(name)
                people.append(name)
        return sorted(people)

    def _images_of(self, person: str) -> list[str]:
        """Paths of a person's images, by name, relative to the root."""
        try:
            entries = scan(self._root / person)
        except OSError as error:
            self.ignored[printable(person) + "/"] = unreadable(error)
            return []
        files = []
        for entry in entries:
            kind, reason = classify(entry)
            relative = f"{person}/{entry.name}"
            if kind == "photograph":
                files.append(relative)
            else:
                self._ignore(entry, relative, reason or _INSIDE)
        return files

    def _ignore(self, entry: os.DirEntry[str], relative: str, reason: str) -> None:
        self.ignored[printable(relative) + ("/" if is_folder(entry) else "")] = reason
