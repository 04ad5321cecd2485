"""Images in groups, and at the same time, that fit in memory: bounded by their pixels, for one photograph may be as
large as a thousand others.

Not here: batches of a detector (`faces.detect`), of training (`loader.py`).
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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


class Budget:
    """So many pixels at the same time, among threads; an image that has more has its turn alone.

    Whoever holds a part of it must not ask for more of it.
    """

    def __init__(self, pixels: int = PIXELS):
        self._pixels, self._held = pixels, 0
        self._changed = threading.Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        """Hold so many pixels while the block runs, from when they are free."""
        with self._changed:
            self._changed.wait_for(lambda: self._held == 0 or self._held + pixels <= self._pixels)
            self._held += pixels
        try:
            yield
        finally:
            with self._changed:
                self._held -= pixels
                self._changed.notify_all()
