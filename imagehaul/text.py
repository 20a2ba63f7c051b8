"""Text of others, such as a file's name, made harmless to show; and counts in words."""

from __future__ import annotations

import unicodedata

LONGEST = 300
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def printable(text: str) -> str:
    """One line without control characters, terminal escapes or marks that turn the direction of writing."""
    shown = _seen(text[: LONGEST + 1])
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"


def printable_lines(text: str) -> str:
    """The same for sentences of our own with such text in them: at their full length, and with their line breaks."""
    return "\n".join(map(_seen, text.split("\n")))


def counted(number: int, thing: str, things: str = "") -> str:
    """1 run, 2 runs; 1 box, 2 boxes."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"


def _seen(text: str) -> str:
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in _UNSEEN else character
        for character in text
    )
