"""`experiments.prepare --detector`: what was found in photographs and what was left out, said, listed and drawn.

The set's folder receives `coverage.csv`, a line for each person; `near_duplicates.csv`, a line for each pair under two
names; and `dropped.png` (`dropped_sheet.py`).

Not here: the decisions (`faces.aligned.judging`).
"""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from experiments.common.aligning import Aligned
from experiments.common.dropped_sheet import draw_dropped
from experiments.common.photographs import counted
from faces.aligned.judging import KINDS, NEEDED, LeftOut
from faces.data.joined import Joined
from faces.data.open import Opened
from faces.evaluate.verification import few_names
from faces.refused import writing

COVERAGE, NEAR_DUPLICATES, SHEET = "coverage.csv", "near_duplicates.csv", "dropped.png"


def write_report(aligned: Aligned, folder: Path) -> None:
    """Write lists and sheet into the folder of the set."""
    source, judged = aligned.photographs, aligned.judged
    kinds = _kinds_of_people(aligned)
    rows = [
        [name, total, total - sum(kinds[label][kind] for kind in NEEDED), total - sum(kinds[label].values())]
        + [kinds[label][kind] for kind in KINDS]
        for label, (name, total) in enumerate(zip(source.identity_names, _totals(aligned), strict=True))
    ]
    _write(folder / COVERAGE, [["person", "photographs", "with a face", "kept", *KINDS], *rows])
    if aligned.judged.across:
        names = [[source.source_name(a), source.source_name(b), f"{cosine:.4f}"] for a, b, cosine in judged.across]
        _write(folder / NEAR_DUPLICATES, [["first", "second", "cosine"], *names])
    draw_dropped(aligned.photographs, aligned.looks, aligned.judged, folder / SHEET)


def tell(aligned: Aligned, undetected: str, console: Console) -> None:
    """Print what was found, why photographs are left out, and how much of each person stays."""
    source, judged, looks = aligned.photographs, aligned.judged, aligned.looks.looks
    readable = [look for look in looks if not look.unreadable]
    found, several = sum(bool(look.boxes) for look in readable), sum(len(look.boxes) > 1 for look in readable)
    of_several = f", more than one in {several:,} ({aligned.cut_as['select']} taken)" if several else ""
    console.print(f"{counted(len(looks), 'photographs')}, a face found in {found:,}{of_several}")
    if undetected == "centre_crop" and found < len(readable):
        console.print(f"  no face, and the middle taken, in {len(readable) - found:,}")
    _tell_kinds(aligned, judged.left_out, "quarantined", console)
    if judged.spared:
        _tell_kinds(aligned, judged.spared, "kept all the same, as a list of pairs names them", console)
    _tell_people(aligned, console)
    if aligned.cut_as["model"] is None:
        console.print("near-duplicates were not looked for: they are found by embeddings; name a model by --weights")
    elif judged.across:
        pairs = [f"{source.source_name(a)} and {source.source_name(b)}" for a, b, _ in judged.across]
        console.print(f"nearly the same under two names: {counted(len(pairs), 'pairs')}, in {NEAR_DUPLICATES}: "
                      f"{few_names(pairs)}")  # fmt: skip
        console.print("  one of the names is wrong, or both are one person's; --drop-across leaves both out")
    if judged.left_out or judged.across:
        console.print(f"{SHEET}: what was left out, by reason")


def tell_joined(opened: Opened, merged: bool, console: Console) -> None:
    """Print which names several sets have and what becomes of them, and which lists are left out."""
    for one in opened.parts:
        for pair_list in one.pair_lists:
            console.print(f"left out: {pair_list.name} of {one.source.name}; a list of pairs belongs to one set alone")
    names = opened.source.in_several if isinstance(opened.source, Joined) else []
    if names:
        people = "one person each" if merged else "different people, each called after the set too"
        hint = "" if merged else "; --merge-by-name makes them one"
        console.print(f"in several sets: {counted(len(names), 'names')}, {people}: {few_names(names)}{hint}")


def _tell_kinds(aligned: Aligned, left_out: Sequence[LeftOut], what: str, console: Console) -> None:
    console.print(f"{what}: {len(left_out):,}")
    for kind in KINDS:
        names = [f"{aligned.photographs.source_name(one.row)}" for one in left_out if one.kind == kind]
        if names:
            console.print(f"  {kind}: {len(names):,}: {few_names(names)}")


def _tell_people(aligned: Aligned, console: Console) -> None:
    totals, names = _totals(aligned), aligned.photographs.identity_names
    kept = np.bincount(aligned.photographs.identities[sorted(aligned.judged.kept)], minlength=len(names))
    whole = int((kept == totals).sum())
    of_all = f"{kept.sum():,} of {counted(totals.sum(), 'photographs')} stay ({kept.sum() / totals.sum():.1%})"
    console.print(f"{of_all}, all of theirs of {whole:,} of {len(names):,} people; {COVERAGE} says whose")
    gone = [name for name, left in zip(names, kept, strict=True) if not left]
    single = [name for name, left, all_ in zip(names, kept, totals, strict=True) if left == 1 < all_]
    if gone:
        console.print(f"  nothing is left of {len(gone):,}: {few_names(gone)}")
    if single:
        console.print(f"  one photograph of several is left of {len(single):,}: {few_names(single)}")


def _totals(aligned: Aligned) -> np.ndarray:
    """Photographs of each person, int (people,)."""
    return np.bincount(aligned.photographs.identities, minlength=len(aligned.photographs.identity_names))


def _kinds_of_people(aligned: Aligned) -> list[Counter[str]]:
    kinds = [Counter[str]() for _ in aligned.photographs.identity_names]
    for one in aligned.judged.left_out:
        kinds[aligned.photographs.identities[one.row]][one.kind] += 1
    return kinds


def _write(path: Path, rows: Sequence[Sequence[object]]) -> None:
    with writing(path), path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
