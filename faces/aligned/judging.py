"""Which photographs of a set give it a face, and why the others do not.

| kind | what |
|---|---|
| unreadable | it cannot be decoded |
| no face | none was found, and the middle is not taken instead |
| cannot be cut | a face was found that the alignment makes nothing of |
| too small, blurred | it shows too little of a face (`faces.sharpness`) |
| same picture | the same face of the same pixels as another photograph |
| near-duplicate | a face that is nearly the same as another, by embedding |

The first that holds counts. Of one person's copies one stays: the first of the same picture, the sharpest of nearly the
same. The same picture under two names is left out under both, as one of them is wrong and nobody knows which; where two
sets that were joined have it under one name, the first stays. Nearly the same under two names is told and left out only
where that is asked for. A photograph that is needed, as a list of pairs names it, is left out for the first three
alone.

Not here: looking (`recognizer.aligning`), files and sheets of what is left out (`experiments.common`).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from faces.aligned.looks import CutFace, Look
from faces.aligned.own_face import own_faces
from faces.data.near_duplicates import near_duplicates
from faces.sharpness import LEAST_DETAIL, SMALLEST, too_small

Kind = Literal["unreadable", "no face", "cannot be cut", "too small", "blurred", "same picture", "near-duplicate"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NEEDED: tuple[Kind, ...] = ("unreadable", "no face", "cannot be cut")
"""What leaves no face at all."""


@dataclass(frozen=True)
class Rules:
    """What a face must be like to stay.

    Args:
        takes_middle: of a photograph in which no face is found the middle is taken.
        least_face: shorter side of its box, in pixels.
        least_detail: as `faces.sharpness.detail`.
        near: cosine from which on two faces are nearly the same.
        drops_across: nearly the same under two names is left out.
    """

    takes_middle: bool = False
    least_face: float = SMALLEST
    least_detail: float = LEAST_DETAIL
    near: float = 0.95
    drops_across: bool = False


class LeftOut(NamedTuple):
    """A photograph that gives no face, by its row; and the row of the one that it is a copy of."""

    row: int
    kind: Kind
    reason: str
    other: int | None = None

    @property
    def said(self) -> str:
        """Kind and reason in words."""
        return f"{self.kind}: {self.reason}" if self.reason else self.kind


class Across(NamedTuple):
    """Two photographs, by their rows, of nearly the same face under two names."""

    first: int
    second: int
    cosine: float


@dataclass(frozen=True)
class Judged:
    """What becomes of photographs.

    Args:
        kept: the face that is meant, by the photograph's row, ascending.
        meant: the same with faces that are left out all the same.
        left_out: the other photographs, by row.
        spared: photographs that would have been left out and are needed, with the reason.
        across: pairs under two names; of photographs that are needed, too.
    """

    kept: dict[int, CutFace]
    meant: dict[int, CutFace]
    left_out: list[LeftOut]
    spared: list[LeftOut]
    across: list[Across]


@dataclass(frozen=True)
class Labelled:
    """What is known of photographs besides what they show.

    Args:
        identities: the person of each, int (photographs,).
        alike: for each person a word that those have in common whom the sets call by one name.
        name_of: row -> the photograph's name.
        is_needed: whether each must stay, bool (photographs,).
    """

    identities: np.ndarray
    alike: Sequence[str]
    name_of: Callable[[int], str]
    is_needed: np.ndarray


def judge(
    looks: Sequence[Look], of: Labelled, rules: Rules, embedding: Callable[[CutFace], np.ndarray] | None
) -> Judged:
    """Decide on each photograph.

    Args:
        looks: the photographs; where several faces of one are cut, the person's own is meant, by the embeddings.
        of: whose they are.
        rules: what stays.
        embedding: of a face; None where there is no model, and nearly the same is not looked for.
    """
    meant = _meant(looks, of, embedding)
    judged = Judged(dict(meant), meant, [], [], [])
    for row, look in enumerate(looks):
        if why := _alone(look, meant.get(row), rules):
            _leave_out(judged, of, LeftOut(row, *why))
    _same_pictures(judged, looks, of)
    if embedding is not None:
        _near_duplicates(judged, of, rules, embedding)
    judged.left_out.sort()
    judged.spared.sort()
    return judged


def _meant(
    looks: Sequence[Look], of: Labelled, embedding: Callable[[CutFace], np.ndarray] | None
) -> dict[int, CutFace]:
    """The face that is meant of each photograph that has one cut out."""
    middles = {row: look.cut[0] for row, look in enumerate(looks) if look.cut and look.cut[0].found is None}
    cut = [(row, face) for row, look in enumerate(looks) if row not in middles for face in look.cut]
    if len({row for row, _ in cut}) == len(cut):
        return middles | dict(cut)
    assert embedding is not None  # several are cut to be told apart
    rows = np.array([row for row, _ in cut])
    boxes = np.stack([looks[row].box(face) for row, face in cut])  # (faces, 4)
    areas = np.nan_to_num((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    chosen = own_faces(np.stack([embedding(face) for _, face in cut]), rows, of.identities[rows], areas)
    return middles | dict(cut[face] for face in chosen.tolist())


def _alone(look: Look, face: CutFace | None, rules: Rules) -> tuple[Kind, str] | None:
    """Why a photograph is left out whatever the others are."""
    if look.unreadable:
        return "unreadable", look.unreadable
    if not look.boxes and not rules.takes_middle:
        return "no face", ""
    if face is None:
        return "cannot be cut", look.uncut[0] if look.uncut else "its middle cannot be cut out"
    box = look.box(face)
    if too_small(box[None], rules.least_face)[0]:
        width, height = box[2] - box[0], box[3] - box[1]
        return "too small", f"the face has {width:.0f}x{height:.0f} pixels, {rules.least_face:g} are the least"
    if face.detail < rules.least_detail:
        return "blurred", f"the face shows too little detail, {face.detail:.3f}, {rules.least_detail:g} is the least"
    return None


def _leave_out(judged: Judged, of: Labelled, one: LeftOut) -> None:
    """Leave a photograph out, unless it is needed and has a face."""
    if of.is_needed[one.row] and one.kind not in NEEDED:
        judged.spared.append(one)
    else:
        judged.kept.pop(one.row, None)
        judged.left_out.append(one)


def _same_pictures(judged: Judged, looks: Sequence[Look], of: Labelled) -> None:
    groups = defaultdict[tuple[str, int | None], list[int]](list)
    for row, face in judged.kept.items():
        groups[looks[row].pixels, face.found].append(row)
    for rows in groups.values():
        names = {of.alike[of.identities[row]] for row in rows}
        if len(names) > 1:
            for row in rows:
                other = next(one for one in rows if of.alike[of.identities[one]] != of.alike[of.identities[row]])
                reason = f"the same as {of.name_of(other)}, under another name"
                _leave_out(judged, of, LeftOut(row, "same picture", reason, other))
            continue
        for row in rows[1:]:
            _leave_out(judged, of, LeftOut(row, "same picture", f"the same as {of.name_of(rows[0])}", rows[0]))


def _near_duplicates(
    judged: Judged, of: Labelled, rules: Rules, embedding: Callable[[CutFace], np.ndarray]
) -> None:
    kept = judged.kept
    rows = np.array(sorted(kept, key=lambda row: (-kept[row].detail, row)), np.int64)  # the sharpest stays
    if not rows.size:
        return
    x = np.stack([embedding(kept[row]) for row in rows.tolist()])
    found = near_duplicates(x, of.identities[rows], rules.near)
    pairs = list(zip(found.first.tolist(), found.second.tolist(), strict=True))
    nearest = dict(zip(pairs, found.cosine.tolist(), strict=True))
    for copy in np.flatnonzero(found.is_copy).tolist():
        first = int(found.copy_of[copy])
        stays = int(rows[first])
        reason = f"nearly the same as {of.name_of(stays)}, cosine {nearest[first, copy]:.3f}"
        _leave_out(judged, of, LeftOut(int(rows[copy]), "near-duplicate", reason, stays))
    for pair, is_across in zip(pairs, found.is_across.tolist(), strict=True):
        a, b = sorted(int(rows[one]) for one in pair)
        if is_across and a in kept and b in kept:
            judged.across.append(Across(a, b, nearest[pair]))
    judged.across.sort(key=lambda pair: (-pair.cosine, pair.first, pair.second))
    if rules.drops_across:
        _drop_across(judged, of)


def _drop_across(judged: Judged, of: Labelled) -> None:
    """Leave out both of each pair, each for its nearest."""
    gone = set[int]()
    for pair in judged.across:
        for row, other in ((pair.first, pair.second), (pair.second, pair.first)):
            if row not in gone:
                gone.add(row)
                reason = f"nearly the same as {of.name_of(other)}, under another name, cosine {pair.cosine:.3f}"
                _leave_out(judged, of, LeftOut(row, "near-duplicate", reason, other))
