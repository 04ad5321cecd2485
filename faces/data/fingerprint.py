"""A record of a training set, to compare with the set at hand: its people, how many images each has, and which.

A run that goes on, and whatever was computed from a training set, belongs to that set alone: labels count the people in
their order, and a person more or less gives every label after it to somebody else. So a fingerprint is stored with
them, and another set is refused by the first difference.

Not here: the marks of single images (`marks.py`).
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from faces.data.source import FaceSource
from faces.errors import DataError

_NAMED = 3  # people whom a sentence names


@dataclass(frozen=True)
class Person:
    """One identity of a training set.

    Args:
        name: as the source calls it; its number where it has no names.
        images: how many.
        digest: of their marks in their order, hexadecimal.
    """

    name: str
    images: int
    digest: str


@dataclass(frozen=True)
class Fingerprint:
    """A training set as it was.

    Args:
        name: a word or path for sentences, not compared: a set may be moved.
        images: how many.
        digest: of all labels and marks in their order, hexadecimal: the set is the same where it is the same.
        people: by label.
    """

    name: str
    images: int
    digest: str
    people: tuple[Person, ...]

    def counts(self) -> str:
        """How large it is, in words."""
        return f"{self.images:,} images of {len(self.people):,} people"

    def summary(self) -> dict[str, Any]:
        """Name, counts and digest, for records that people read."""
        return {"name": self.name, "images": self.images, "people": len(self.people), "digest": self.digest}

    def to_json(self) -> dict[str, Any]:
        """For a JSON file; `from_json` reads it back."""
        each = [[person.name, person.images, person.digest] for person in self.people]
        return self.summary() | {"each": each}

    def difference(self, now: "Fingerprint") -> str:
        """What has changed in the set since, a clause for a sentence; "" where it is the same."""
        if now.digest == self.digest:
            return ""
        before, after = ({person.name: person for person in one.people} for one in (self, now))
        added = [name for name in after if name not in before]
        removed = [name for name in before if name not in after]
        changed = [name for name in before if name in after and before[name] != after[name]]
        clauses = [f"{_people(names)} {what}" for names, what in ((added, "added"), (removed, "removed")) if names]
        if changed:
            name = changed[0]
            counts = f"{before[name].images:,} then and {after[name].images:,} now"
            clauses.append(f"the images of {len(changed):,} are others, first {name}'s ({counts})")
        if not clauses:
            clauses.append("people or images are in another order, or files are others")
        return "; ".join(clauses)


def fingerprint(source: FaceSource) -> Fingerprint:
    """The fingerprint of labelled faces. Nothing is decoded; see `marks.py` for what is read."""
    labels, marks = np.asarray(source.identities, np.int64), source.marks()
    people = int(labels.max()) + 1
    ends = np.cumsum(np.bincount(labels, minlength=people))
    by_person = marks[np.argsort(labels, kind="stable")]
    names, starts = source.identity_names, np.concatenate([[0], ends[:-1]])
    each = tuple(
        Person(names[label], int(end - start), _digest(by_person[start:end]))
        for label, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True))
    )
    whole = hashlib.sha256("\0".join(person.name for person in each).encode("utf-8", "surrogateescape"))
    whole.update(labels.astype("<i8").tobytes() + marks.astype("<u8").tobytes())
    return Fingerprint(source.name, len(labels), whole.hexdigest()[:32], each)


def from_json(content: Any, place: str) -> Fingerprint:
    """The fingerprint that `to_json` gave.

    Args:
        content: what the JSON file holds.
        place: of the file, for the sentence.
    Raises:
        DataError: it is none.
    """
    try:
        people = tuple(Person(str(name), int(images), str(digest)) for name, images, digest in content["each"])
        found = Fingerprint(str(content["name"]), int(content["images"]), str(content["digest"]), people)
        if len(people) != content["people"] or sum(person.images for person in people) != found.images:
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DataError(f"{place}: is damaged, it does not tell what the training set was.") from None
    return found


def _digest(marks: np.ndarray) -> str:
    return hashlib.blake2b(marks.astype("<u8").tobytes(), digest_size=8).hexdigest()


def _people(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    count = "1 person was" if len(names) == 1 else f"{len(names):,} people were"
    return f"{count[: count.rindex(' ')]} ({shown}){count[count.rindex(' ') :]}"
