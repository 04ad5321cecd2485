"""Text from outside as it may be shown: what commands a terminal or turns the direction of writing becomes an escape.

Not here: the console (`terminal.py`).
"""

LONGEST = 2000
"""Characters of a sentence; one of ours has 500 with the longest path that a person would type."""

_ESCAPED = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
_ESCAPED |= {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}  # directions
_NEWLINES = str.maketrans({"\n": "\\n", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def escaped(text: str) -> str:
    """Text without the codes that command a terminal or turn the direction of writing, and without halves of
    characters: all become escapes."""
    return text.translate(_ESCAPED).encode(errors="backslashreplace").decode()


def on_one_line(text: str) -> str:
    """`escaped` text whose line breaks are escapes too."""
    return escaped(text).translate(_NEWLINES)


def sentence(text: str) -> str:
    """`on_one_line`, and of a text that is far too long its beginning and its end."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return on_one_line(text)
