"""Names of people in two sets, which write the same name in many ways.

Names are the same that differ in case, accents, and what stands between the words alone: "José_López", "jose lopez".
Names are near where a person might mean the same: another order of the words, a middle name or initial that one lacks,
one letter that is another, more or less, or two exchanged. A set whose people are numbered has no names to compare.

Not here: names of files (`named_files.py`), whether people of one name look alike (`faces.evaluate.overlap`).
"""

import itertools
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Likeness = Literal["same", "near"]
Key = TypeVar("Key")

SHORTEST = 6
"""Letters of names of which one letter may be another; of shorter ones too many are one letter apart."""
_PLAIN = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "\u0131": "i"})
_WITHIN = "'`\u2019\u02bc"
"""Marks that do not part words: O'Brien, with any apostrophe."""


@dataclass(frozen=True)
class Alike:
    """Two names: rows in their lists, and whether they are the same or near."""

    first: int
    second: int
    likeness: Likeness


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name in plain small letters, without accents and marks; () of one without a letter."""
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    plain = "".join(one for one in letters if not unicodedata.combining(one) and one not in _WITHIN)
    plain = plain.translate(_PLAIN)
    words = tuple("".join(one if one.isalnum() else " " for one in plain).split())
    return words if any(one.isalpha() for word in words for one in word) else ()


def are_numbers(names: Iterable[str]) -> bool:
    """Whether people are numbered: without their digits all names are one, as in person_1, person_2, or 0, 1, 2."""
    with_digits, rest = False, set[str]()
    for name in names:
        rest.add("".join(one for one in name if not one.isdecimal()))
        with_digits = with_digits or any(one.isdecimal() for one in name)
        if len(rest) > 1:
            return False
    return with_digits


def alike_names(first: Sequence[str], second: Sequence[str]) -> list[Alike]:
    """The pairs of a name of one list and a name of another that are the same or near, by row; each pair once."""
    ours, theirs = [words_of(name) for name in first], [words_of(name) for name in second]
    same = _sharing([[words] for words in ours], [[words] for words in theirs])
    found: dict[tuple[int, int], Likeness] = dict.fromkeys(same, "same")
    for pair in itertools.chain(
        _sharing([[tuple(sorted(words))] for words in ours], [[tuple(sorted(words))] for words in theirs]),
        _lacking(ours, theirs),
        _one_letter_apart(ours, theirs),
    ):
        found.setdefault(pair, "near")
    return [Alike(*pair, likeness) for pair, likeness in sorted(found.items())]


def _sharing(ours: Sequence[Iterable[Key]], theirs: Sequence[Iterable[Key]]) -> Iterator[tuple[int, int]]:
    """Rows of the pairs that have a key in common; an empty key is none."""
    rows: dict[Key, list[int]] = {}
    for row, keys in enumerate(theirs):
        for key in keys:
            if key:
                rows.setdefault(key, []).append(row)
    for row, keys in enumerate(ours):
        yield from sorted({(row, other) for key in keys for other in rows.get(key, ())})


def _lacking(ours: Sequence[tuple[str, ...]], theirs: Sequence[tuple[str, ...]]) -> Iterator[tuple[int, int]]:
    """Where one name has all words of the other, which are two or more, and further ones."""
    pairs_of = [[list(itertools.combinations(sorted(set(words)), 2)) for words in names] for names in (ours, theirs)]
    for row, other in _sharing(*pairs_of):
        a, b = set(ours[row]), set(theirs[other])
        if a < b or b < a:
            yield row, other


def _one_letter_apart(ours: Sequence[tuple[str, ...]], theirs: Sequence[tuple[str, ...]]) -> Iterator[tuple[int, int]]:
    """Two names that are one letter apart share what is left of each without one of its letters."""
    joined = [["".join(words) for words in names] for names in (ours, theirs)]
    for row, other in _sharing(*([_without_a_letter(name) for name in names] for names in joined)):
        if _is_one_apart(joined[0][row], joined[1][other]):
            yield row, other


def _without_a_letter(name: str) -> set[str]:
    """The name, and the name without each of its letters; nothing of short ones, and of those with digits."""
    if len(name) < SHORTEST or not name.isalpha():
        return set()
    return {name, *(name[:at] + name[at + 1 :] for at in range(len(name)))}


def _is_one_apart(a: str, b: str) -> bool:
    """Whether one letter is another, more or less, or two neighbours are exchanged."""
    start = next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[start:], b[start:]
    end = next((at for at, (x, y) in enumerate(zip(a[::-1], b[::-1], strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[: len(a) - end], b[: len(b) - end]
    return max(len(a), len(b)) == 1 or (len(a) == 2 and a == b[::-1])
