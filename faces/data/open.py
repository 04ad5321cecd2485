"""Which kind of faces lies at a path, and opening it: prepared, an image folder, LFW or InsightFace records.

Not here: the readers themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from faces.data.image_folder import FolderSource
from faces.data.joined import Joined
from faces.data.lfw import PAIR_LISTS, find_pairs, image_root, read_pairs
from faces.data.prepared import MANIFEST, EncodedSource, PreparedFaces
from faces.data.recordio import RecordSource
from faces.errors import DataError

Kind = Literal["prepared", "records", "lfw", "folder"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Opened:
    """A source and what lay with it.

    Args:
        kind: what it was taken for.
        source: images and labels.
        pair_lists: LFW's lists of pairs, each read and found whole.
        ignored: files and folders that were passed over, with the reason.
        parts: of several sets that are taken as one, each.
    """

    kind: Kind | Literal["several sets"]
    source: EncodedSource
    pair_lists: tuple[Path, ...] = ()
    ignored: Mapping[str, str] = field(default_factory=dict)
    parts: tuple["Opened", ...] = ()

    @property
    def aligned(self) -> bool:
        """Whether the images are known to be faces already: InsightFace's records are, and prepared sets say it."""
        if self.parts:
            return all(part.aligned for part in self.parts)
        return self.kind == "records" or (isinstance(self.source, PreparedFaces) and self.source.aligned)

    @property
    def cut_as(self) -> dict[str, Any] | None:
        """How the faces of a prepared set were found and cut out, where it says so; of several, where all do alike."""
        if self.parts:
            first = self.parts[0].cut_as
            return first if all(part.cut_as == first for part in self.parts) else None
        return self.source.cut_as if isinstance(self.source, PreparedFaces) else None


def open_several(paths: Sequence[Path | str], kind: Kind | None = None, merge_by_name: bool = False) -> Opened:
    """One set, or several as one (`joined.py`), whose lists of pairs belong to none of them alone and are left out.

    Args:
        paths, kind: as for `open_source`.
        merge_by_name: people of one name are one person.
    Raises:
        DataError: as `open_source`; one place is given twice.
    """
    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise DataError(f"{', '.join(map(str, paths))}: one place is given twice; name each once.")
    parts = tuple(open_source(path, kind) for path in paths)
    if len(parts) == 1:
        return parts[0]
    joined = Joined([part.source for part in parts], merge_by_name)
    ignored = {f"{part.source.name}/{name}": why for part in parts for name, why in part.ignored.items()}
    return Opened("several sets", joined, (), ignored, parts)


def open_source(path: Path | str, kind: Kind | None = None) -> Opened:
    """Open labelled faces of any kind that `detect_kind` knows, with what lies beside them.

    Args:
        path: a prepared dataset, an image folder, LFW, or InsightFace's records.
        kind: what it is read as; None: what `detect_kind` takes it for.

    Raises:
        DataError: nothing usable lies there.
    """
    path = Path(path)
    kind = kind or detect_kind(path)
    if kind == "prepared":
        lists = tuple(path / name for name in PAIR_LISTS if (path / name).is_file())
        return Opened(kind, PreparedFaces(path), lists)
    if kind == "records":
        return Opened(kind, RecordSource(_record_file(path)))
    if kind == "folder":
        source = FolderSource(path)
        return Opened(kind, source, (), source.ignored)
    found = [find_pairs(path, name) for name in PAIR_LISTS]
    if found[0] is None:
        raise DataError(f"{path}: {PAIR_LISTS[0]} is neither in it nor beside it; put the list of pairs there.")
    lists = tuple(place for place in found if place is not None)
    for place in lists:
        read_pairs(place)
    source = FolderSource(image_root(path))
    ignored = {name: reason for name, reason in source.ignored.items() if name not in PAIR_LISTS}
    return Opened(kind, source, lists, ignored)


def detect_kind(path: Path) -> Kind:
    """What lies at a path.

    A folder with prepared.json is "prepared"; a .rec file, or a folder with one, is "records"; a folder with pairs.txt
    in it, or beside it where the folder's name starts with "lfw", is "lfw"; any other folder is "folder".

    Raises:
        DataError: nothing there, or a file of another kind.
    """
    if path.is_file():
        if path.suffix == ".rec":
            return "records"
        raise DataError(f"{path}: is a file; a folder of faces or a .rec file is expected.")
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder.")
    if (path / MANIFEST).is_file():
        return "prepared"
    if any(path.glob("*.rec")):
        return "records"
    named_lfw = path.absolute().name.lower().startswith("lfw")
    if (path / PAIR_LISTS[0]).exists() or (named_lfw and find_pairs(path)):
        return "lfw"
    return "folder"


def _record_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    files = sorted(path.glob("*.rec"))
    if len(files) != 1:
        raise DataError(f"{path}: {len(files)} .rec files in it; name the one to read.")
    return files[0]
