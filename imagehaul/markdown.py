"""Markdown of our own with text of others in it, harmless wherever it is drawn: artifacts, the data set's card."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from imagehaul.text import printable

# Letters, digits and signs that mean nothing in Markdown where they stand: no list or heading at the beginning, no
# emphasis, and nothing that becomes a link by itself.
PLAIN = re.compile(r"(?!\d+[.)](\s|$))(?!.*www\.)(?:s3://|/)?[^\W_](?:[^\W_]|[ /.,()=%+-]|(?<=[^\W_])_(?=[^\W_]))*")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown. The cells are Markdown already: made by `cell`, or our own words."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> str:
    """Text of others as plain words in Markdown: no HTML, no links, no pictures, no new cells.

    An ordinary path stays as it is in the stored data too, so that it can be copied from there.
    """
    shown = printable(text)
    if PLAIN.fullmatch(shown):
        return shown
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", shown)
