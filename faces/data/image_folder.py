"""A folder of labelled photographs: one folder a person, `identity/anything.jpg`.

LFW, CASIA-WebFace, VGGFace2 and Pins lay their images out so. Identities are the sub-folders with at least one image,
in the order of their names; images follow in the order of theirs, so that the same folder gives the same labels on
every machine. A file is taken for an image by its extension. Everything else, hidden files and deeper folders included,
is ignored and listed.

Not here: formats with labels of their own (`recordio.py`), decoding (`images.py`).
"""

import os
from pathlib import Path

import numpy as np

from faces.data.images import EXTENSIONS, decode_image
from faces.data.marks import mark_files
from faces.errors import DataError, ImageError


class FolderSource:
    """An image folder as a `FaceSource`; images are read and decoded when asked for.

    Args:
        root: the folder that holds the identities' folders.

    Attributes:
        name: the path.
        identities: int32 (images,).
        identity_names: the folder's name of each identity.
        ignored: what was passed over, relative to `root`; a folder without images ends in a slash.

    Raises:
        DataError: no such folder, or no image in it.
    """

    def __init__(self, root: Path | str):
        self.name = str(root)
        self._root = Path(root)
        self._files: list[str] = []
        self.identity_names: list[str] = []
        self.ignored: list[str] = []
        labels: list[int] = []
        for entry in _scan(self._root):
            if not entry.is_dir() or entry.name.startswith("."):
                self.ignored.append(printable(entry.name))
                continue
            images = 0
            for file in _scan(Path(entry.path)):
                relative = f"{entry.name}/{file.name}"
                if _is_image(file):
                    self._files.append(relative)
                    images += 1
                else:
                    self.ignored.append(printable(relative) + ("/" if file.is_dir() else ""))
            if images:
                labels += [len(self.identity_names)] * images
                self.identity_names.append(printable(entry.name))
            else:
                self.ignored.append(printable(entry.name) + "/")
        if not self._files:
            raise DataError(
                f"{root}: no image found; a folder for each person with that person's images in it is expected, "
                "IDENTITY/IMAGE.jpg."
            )
        self.identities = np.array(labels, np.int32)  # (images,)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> np.ndarray:
        return decode_image(self.encoded(index), str(self._root / self._files[index]))

    def encoded(self, index: int) -> bytes:
        """The file of image `index`."""
        try:
            return (self._root / self._files[index]).read_bytes()
        except OSError as error:
            raise ImageError(f"{self.source_name(index)}: cannot be read ({error.strerror}).") from None

    def marks(self) -> np.ndarray:
        """See `faces.data.source.FaceSource`."""
        return mark_files(str(self._root), self._files)

    def source_name(self, index: int) -> str:
        """Path of image `index` relative to the folder, with slashes."""
        return printable(self._files[index])


def printable(name: str) -> str:
    """A file's name as text that can be written anywhere: bytes that are no UTF-8 become backslash escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    """Entries of a folder by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        raise DataError(f"{folder}: no such folder.") from None
    except OSError as error:
        raise DataError(f"{folder}: cannot be read as a folder ({error.strerror}).") from None


def _is_image(entry: os.DirEntry[str]) -> bool:
    extension = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122, a Path for each of millions of files is slow
    return extension in EXTENSIONS and not entry.name.startswith(".") and not entry.is_dir()
