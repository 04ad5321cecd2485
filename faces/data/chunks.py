"""Images in groups that fit in memory: bounded by their pixels, since one photograph may be as large as a thousand.

Not here: batches of a detector (`faces.detect`), of training (`loader.py`).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

MOST = 64
"""Images of a group at most."""
PIXELS = 48_000_000
"""A group ends with the image that reaches so many: 144 MB, and as much more as that image has."""

Item = TypeVar("Item")


def chunks(items: Iterable[Item], pixels_of: Callable[[Item], int], most: int = MOST) -> Iterator[list[Item]]:
    """Items in their order, in groups of at most `most`, no more of which are asked for than the group holds.

    Args:
        items: images, or what holds one; none of them is kept here once the next group is asked for.
        pixels_of: how many pixels an item has.
        most: items of a group at most.
    """
    group, pixels = list[Item](), 0
    for item in items:
        group.append(item)
        pixels += pixels_of(item)
        del item
        if len(group) == most or pixels >= PIXELS:
            yield group
            group, pixels = [], 0
    if group:
        yield group
