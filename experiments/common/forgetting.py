"""Taking people out of indexes and caches, so that no vector of theirs is left in them.

A cache knows vectors by the hash of a picture and not whose they are. Where it can be told, a person's vectors go and
the others stay: embeddings that are, number by number, those of the index, and detections of photographs that can still
be read. Of a file of which it cannot be told nothing stays: it is only a cache.

Not here: the index (`people_index.py`), what a disk or its backups keep of deleted files.
"""

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.common.people_index import Index, read_index, write_index
from faces.cache import digest_of, remove_from
from faces.data.images import read_image
from faces.errors import DataError, ImageError
from faces.opening import parse_json, read_bytes
from faces.outputs import locked, write_json
from faces.refused import writing

_OF_EMBEDDINGS = "embeddings-*.npz"
_LONGEST_RESULT = 64 << 20  # bytes


def forget(name: str, indexes: Sequence[Path], caches: Sequence[Path], console: Console) -> dict[str, Any]:
    """Take a person out of indexes and caches; the indexes last, so that it can be done again after an interruption.

    Args:
        name: as it was enrolled.
        indexes: files of enrolled people; one without the person stays as it is.
        caches: folders; one that is not there has nothing.
        console: what is printed to.
    Returns:
        What was taken away, as JSON holds it.
    Raises:
        DataError: no index has the person, or something of them or of a cache is damaged.
        OutputError: the disk refuses, or another command is writing there.
    """
    there = {path: read_index(path) for path in indexes}
    having = {path: index for path, index in there.items() if name in index.people}
    if not having:
        everybody = sorted({person for index in there.values() for person in index.people})
        near = difflib.get_close_matches(name, everybody, 1)
        who = f"; did you mean {near[0]}?" if near else "."
        raise DataError(f"{', '.join(map(str, indexes))}: nobody is enrolled as {name}{who}")
    gone = [_rows(index, index.person == index.people.index(name)) for index in having.values()]
    from_caches, whole = 0, list[str]()
    for cache in caches:
        one, unclear = _forget_in(cache, gone)
        for file in unclear:
            with writing(file):
                file.unlink()
        from_caches, whole = from_caches + one, [*whole, *map(str, unclear)]
    for path in having:
        with locked(path.parent):
            _write_without(path, read_index(path), name)
    pictures = sum(len(index.pictures) for index in gone)
    console.print(f"{name} is forgotten: {pictures:,} pictures of indexes, {from_caches:,} entries of caches")
    if whole:
        console.print(f"  removed whole, as nobody can tell whose their entries are: {', '.join(whole)}")
    console.print("  photographs, and results of earlier commands, are yours to delete")
    return {"indexes": len(having), "pictures": pictures, "cache_entries": from_caches, "caches_removed": len(whole)}


def forget_replaced(path: Path, new: Index, cache: Path, console: Console) -> None:
    """Take out of a cache what the index that is to be replaced holds, if there is one, and the new one does not."""
    if not path.is_file():
        return
    try:
        old = read_index(path)
    except DataError:
        console.print(f"  the index before cannot be read: {cache} may hold vectors of people who were in it alone")
        return
    coarser = new if new.embeddings.dtype == np.int8 else old
    kept = {row.tobytes() for row in coarser.as_stored(new.vectors())}
    is_gone = np.array([row.tobytes() not in kept for row in coarser.as_stored(old.vectors())])
    if old.made_by != new.made_by:  # other vectors of the same pictures are no sign that anybody is gone
        is_gone &= ~np.isin(np.array(old.pictures), np.array(new.pictures))
    if is_gone.any():
        gone = _rows(old, is_gone)
        count, unclear = _forget_in(cache, [gone])
        console.print(f"  {len(gone.pictures):,} pictures are enrolled no more; {count:,} entries of {cache} removed")
        if unclear:
            names = ", ".join(map(str, unclear))
            console.print(f"  embeddings by other models, or where faces are in photographs, may still be in {names}")


def _rows(index: Index, chosen: np.ndarray) -> Index:
    """Some images of an index; its people are as they were."""
    pictures = tuple(index.pictures[row] for row in np.flatnonzero(chosen))
    return replace(index, embeddings=index.embeddings[chosen], person=index.person[chosen], pictures=pictures)


def _forget_in(cache: Path, gone: Sequence[Index]) -> tuple[int, list[Path]]:
    """Take images' embeddings and detections out of a folder of caches.

    Args:
        cache: the folder.
        gone: the images.
    Returns:
        How many entries went, and the files of which it cannot be told what else is of these images.
    """
    photographs, are_read = _digests([name for index in gone for name in index.pictures])
    vectors = [{row.tobytes() for row in index.embeddings} for index in gone]
    count, unclear = 0, list[Path]()
    for file in sorted(cache.glob("*.npz")):
        if file.match(_OF_EMBEDDINGS):
            seen = set[bytes]()

            def is_gone(_: bytes, vector: np.ndarray, seen: set[bytes] = seen) -> bool:
                forms = [index.as_stored(vector[None]).tobytes() for index in gone]
                found = {data for data, wanted in zip(forms, vectors, strict=True) if data in wanted}
                seen.update(found)
                return bool(found)

            count += remove_from(file, is_gone)
            is_clear = any(wanted <= seen for wanted in vectors)
        else:
            count += remove_from(file, lambda key, _: key in photographs)
            is_clear = are_read
        if not is_clear and file.exists():
            unclear.append(file)
    return count, unclear


def _digests(names: Sequence[str]) -> tuple[set[bytes], bool]:
    """The keys of photographs in caches of detections, and whether all could be read."""
    found, are_read = set[bytes](), True
    for name in names:
        try:
            found.add(digest_of(read_image(Path(name), name)))
        except (ImageError, OSError):
            are_read = False
    return found, are_read


def _write_without(path: Path, index: Index, name: str) -> None:
    """Replace an index by one without a person, and what is said beside it; one of nobody is removed."""
    if name not in index.people:
        return
    number = index.people.index(name)
    kept = _rows(index, index.person != number)
    people = tuple(person for person in index.people if person != name)
    record = path.with_name("result.json")
    if record.is_file():
        write_json(record, {**_without(record, name), "people": len(people), "pictures": len(kept.pictures)})
    if people:
        write_index(path, replace(kept, person=kept.person - (kept.person > number), people=people))
    else:
        with writing(path):
            path.unlink()


def _without(record: Path, name: str) -> dict[str, Any]:
    """What `result.json` of enrolling says, without a person's name and files."""
    try:
        said = parse_json(read_bytes(record, _LONGEST_RESULT))
        left_out = {file: why for file, why in said["left_out"].items() if name not in Path(file).parts}
        people = [one for one in said["people_left_out"] if one != name]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{record}: is not what enrolling wrote, or damaged; delete it and forget again.") from None
    return {**said, "left_out": left_out, "people_left_out": people}
