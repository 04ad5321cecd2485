"""Contact sheets of two people side by side: whether they are one, a person decides who sees both.

A pair takes a row: the number of its line in the list, its scores and both names, some pictures of one person, and some
of the other.

Not here: sheets of clusters (`contact_sheets.py`), who is proposed (`faces.evaluate.overlap`).
"""

import itertools
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from experiments.common.contact_sheets import GAP, ROWS, TILE, write_line
from experiments.common.photographs import counted
from faces.data.images import encode_png
from faces.outputs import write_bytes

EACH = 5
"""Pictures of a person in a row, at most."""
WORDS, BETWEEN, HEAD = 260, 24, 20
"""Width of the words before a row and of the space between two people, height of the words above all, in pixels."""
LETTERS = 36
"""Letters of a line of words; longer ones are cut."""


@dataclass(frozen=True)
class Side:
    """Two people.

    Args:
        lines: what is written before them, at most three lines.
        first, second: pictures, uint8 (up to EACH, rows, columns, 3), RGB.
    """

    lines: tuple[str, ...]
    first: np.ndarray
    second: np.ndarray


def draw_pairs(pairs: Iterable[Side], count: int, head: tuple[str, str, str], out: Path) -> str:
    """Draw pairs of people, on one sheet or several.

    Args:
        pairs: of people.
        count: how many, at least one.
        head: what stands above the words, above one person's pictures and above the other's.
        out: folder that receives `pairs.png`, or `pairs_1.png`, `pairs_2.png`, ...
    Returns:
        A sentence on what is drawn.
    """
    sheets = -(-count // ROWS)
    names = ["pairs.png"] if sheets == 1 else [f"pairs_{n}.png" for n in range(1, sheets + 1)]
    waiting = iter(pairs)
    for name in names:
        strips = [_strip(pair) for pair in itertools.islice(waiting, ROWS)]
        write_bytes(out / name, encode_png(np.concatenate([_head(head), *strips])))
    return f"{names[0] if sheets == 1 else f'{names[0]} to {names[-1]}'}: all {counted(count, 'pairs')}"


def _lefts() -> list[int]:
    """Where the pictures of both people begin, in pixels, and the end."""
    people = EACH * (TILE + GAP)
    return [WORDS, WORDS + people + BETWEEN, WORDS + 2 * people + BETWEEN]


def _head(texts: tuple[str, str, str]) -> np.ndarray:
    strip = np.full((HEAD, _lefts()[2], 3), 255, np.uint8)
    for text, left in zip(texts, (GAP, *_lefts()), strict=False):
        write_line(strip, drawable(text), (left, HEAD - 6), 0.42)
    return strip


def _strip(pair: Side) -> np.ndarray:
    """One row, uint8 (height, width, 3), RGB."""
    strip = np.full((TILE + GAP, _lefts()[2], 3), 255, np.uint8)
    for line, text in enumerate(pair.lines):
        write_line(strip, drawable(text), (GAP, 18 + 20 * line), 0.42)
    for left, pictures in zip(_lefts(), (pair.first, pair.second), strict=False):
        for column, picture in enumerate(pictures[:EACH]):
            start = left + column * (TILE + GAP)
            strip[:TILE, start : start + TILE] = cv2.resize(picture, (TILE, TILE), interpolation=cv2.INTER_AREA)
    return strip


def drawable(text: str) -> str:
    """Text in the letters that a sheet's font has, without accents, cut to `LETTERS`; "?" for others."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    plain = "".join(one if " " <= one <= "~" else "?" for one in plain)
    return plain if len(plain) <= LETTERS else plain[: LETTERS - 2] + ".."
