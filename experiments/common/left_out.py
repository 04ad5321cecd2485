"""`experiments.prepare --without`: the people and images that lists name are left out, counted and said.

Not here: reading the lists, and finding their names (`faces.data.left_out`).
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments.common.photographs import counted
from faces.data.joined import own_names
from faces.data.left_out import read_left_out, without
from faces.data.open import Opened
from faces.data.pair_sets import SomeImages


def leave_out(opened: Opened, lists: Sequence[Path], console: Console) -> Opened:
    """What is left without those whom some lists name; lists of pairs, which may name them, do not stay with it.

    Raises:
        DataError: as `read_left_out` and `without`.
    """
    stay = without(opened.source, [read_left_out(path) for path in lists], own_names(opened.source))
    console.print(
        f"left out, as {', '.join(map(str, lists))} say{'s' if len(lists) == 1 else ''}: "
        f"{stay.people:,} {'person' if stay.people == 1 else 'people'} with {counted(stay.images, 'images')}"
    )
    for pair_list in opened.pair_lists:
        console.print(f"  {pair_list.name}, which may name them, is not kept beside the others")
    return dataclasses.replace(opened, source=SomeImages(opened.source, stay.rows), pair_lists=())
