"""How the faces of a prepared set were found and cut out, in words, and whether a network takes such faces.

Not here: storing it (`faces.data.preparing`), whoever says it.
"""

from collections.abc import Mapping
from typing import Any

from faces.preprocessing import NEED_NO_FACE, Preprocessing
from faces.schema import flatten

DECIDES = ("alignment", "size", "margin", "resized")
"""Values of a `Preprocessing` that say how a face is cut out by a detection."""


def said(cut_as: Mapping[str, Any]) -> str:
    """A clause on a set's faces, such as "cut out by five_points to 112x112, found by retinaface"."""
    return f"cut out by {_way(cut_as)}, found by {cut_as.get('detector')}"


def difference(cut_as: Mapping[str, Any], preprocessing: Preprocessing) -> str:
    """What a network takes, where it takes faces that are cut out otherwise; "" where it does not, or nothing is known.

    Args:
        cut_as: of a set, `cut_as` of `faces.data.prepared.PreparedFaces`.
        preprocessing: of the network; one whose alignment needs no face was trained on faces that were cut out before,
            of which nothing is known.
    """
    if preprocessing.alignment in NEED_NO_FACE:
        return ""
    wanted = {name: flatten(preprocessing)[name] for name in DECIDES}
    if all(_plain(wanted[name]) == _plain(cut_as.get(name)) for name in DECIDES):
        return ""
    return _way(wanted)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _way(values: Mapping[str, Any]) -> str:
    size = values.get("size")
    to = f" to {size[0]}x{size[1]}" if isinstance(size, list | tuple) and len(size) == 2 else ""
    margin = f", margin {values['margin']:g}" if values.get("margin") else ""
    resized = f" at {values['resized']}" if values.get("resized") else ""
    return f"{values.get('alignment')}{to}{margin}{resized}"
