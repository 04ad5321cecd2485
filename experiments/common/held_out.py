"""`experiments.prepare --hold-out`: a part of the people is kept apart, with pairs of them to choose by.

Not here: who and which pairs (`faces.data.pair_sets`, `faces.data.pair_draw`).
"""

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from faces.data.open import Opened
from faces.data.pair_draw import draw_pairs
from faces.data.pair_sets import HELD_OUT, LfwNames, SomeImages, pair_text, split_people, write_pair_set
from faces.data.prepared import PreparedFaces


def nobody(folder: Path) -> None:
    """What is added to a set of which nobody was held out."""


def split(
    opened: Opened, args: argparse.Namespace, console: Console, cut_as: Mapping[str, Any] | None = None
) -> tuple[Opened, Callable[[Path], None]]:
    """What stays, without lists that name others, and what writes the people held out into the folder of the set.

    Args:
        opened: what is prepared.
        args: `hold_out`, `seed`, `crop` and `size`.
        console: told who was held out when it is done.
        cut_as: as for `write_prepared`.
    Raises:
        DataError: as `split_people`.
    """
    stay, apart = split_people(opened.source, args.hold_out, args.seed)
    held = LfwNames(opened.source, apart)

    def list_of(faces: PreparedFaces) -> str:
        drawn = draw_pairs(faces.identities, f"{opened.source.name}, held out", seed=args.seed)
        console.print(f"pairs of them: {drawn.said()}")
        return pair_text(drawn, faces.source_name)

    def add(folder: Path) -> None:
        # training takes images whole, and so are these taken, whatever they show
        as_all = {"crop": args.crop, "size": args.size, "cut_as": cut_as}
        summary = write_pair_set(held, folder / HELD_OUT, list_of, aligned=True, **as_all)
        counts = summary.images_per_identity
        console.print(f"held out, in {HELD_OUT}: {counts.sum():,} images of {len(counts):,} people")
        if summary.quarantined:
            console.print(f"  quarantined of them: {len(summary.quarantined):,} ({HELD_OUT}/quarantine.csv)")

    return dataclasses.replace(opened, source=SomeImages(opened.source, stay), pair_lists=()), add
