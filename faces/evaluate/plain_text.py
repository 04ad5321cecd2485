"""Names from outside in figures: Matplotlib takes "$" for mathematics, and has no glyph for most letters of the world.

Not here: the figures (`plots.py`, `rate_plots.py`).
"""

import functools

from matplotlib import font_manager

from faces.printable import on_one_line

FONT = "DejaVu Sans"
"""Comes with Matplotlib, so that figures look alike everywhere."""


def plain(text: str) -> str:
    """Text that is drawn as it stands; what the font has no glyph for becomes a backslash escape.

    For titles and labels: a "_" at the beginning would keep a label out of the legend, and gets a space before it.
    """
    drawn = "".join(
        letter if ord(letter) in _glyphs() else letter.encode("ascii", "backslashreplace").decode()
        for letter in on_one_line(text)
    )
    return f"{' ' * drawn.startswith('_')}{drawn}".replace("$", r"\$")


@functools.cache
def _glyphs() -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont(FONT)).get_charmap())
