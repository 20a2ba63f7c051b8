"""The ways in which an annotation may write an image's name otherwise than the source does.

They are tried in this order, and only where the exact name finds nothing: a backslash for a slash; percent-encoding,
on either side; another Unicode composition (NFC, NFD); the absolute path or URI of an image of the source, or the end
of that path together with the image's; a file URL; another case, where that is asked for.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterator, Sequence
from urllib.parse import unquote, urlsplit

EXACT, BACKSLASH, PERCENT, COMPOSITION, ABSOLUTE, FILE_URL, CASE, GUESSED = range(8)
WORDS = {
    BACKSLASH: "with backslashes",
    PERCENT: "percent-encoded",
    COMPOSITION: "in another Unicode composition",
    ABSOLUTE: "from a folder above the source",
    FILE_URL: "as a file URL",
    CASE: "in another case",
}

_SOURCE_PARTS = 3
"""Folders of the source's own path that a name may begin with: `val2017/a.jpg` is `a.jpg` of a source `…/val2017`."""


def keys_of(name: str, any_case: bool) -> set[str]:
    """What two spellings of one name have in common."""
    plain = name.replace("\\", "/")
    return {_composed(word, any_case) for word in (plain, unquote(plain) if "%" in plain else plain)}


def _composed(name: str, any_case: bool) -> str:
    composed = name if name.isascii() else unicodedata.normalize("NFC", name)
    return composed.lower() if any_case else composed


def inside_of(name: str, roots: Sequence[str]) -> tuple[int, str] | None:
    """The name relative to the source, and how it was written; None where it does not lead there from outside."""
    plain, how = name.replace("\\", "/"), ABSOLUTE
    if plain.lower().startswith("file:"):
        plain, how = unquote(urlsplit(plain).path), FILE_URL
    for root in roots:
        if plain.startswith(f"{root}/"):
            return how, posixpath.normpath(plain.removeprefix(f"{root}/"))
    parts = [part for root in roots[:1] for part in root.split("/") if part]
    for count in range(1, min(_SOURCE_PARTS, len(parts)) + 1):
        beginning = "/".join(parts[-count:])
        if plain.startswith(f"{beginning}/"):
            return how, posixpath.normpath(plain.removeprefix(f"{beginning}/"))
    return None


def names_of(reference: str, folders: Sequence[str], roots: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Each name relative to the source that the reference may be meant as, with how it would be written then."""
    how = BACKSLASH if "\\" in reference else EXACT
    for folder in folders:
        yield how, posixpath.normpath(posixpath.join(folder, reference.replace("\\", "/")))
    if inside := inside_of(reference, roots):
        yield inside


def how_written(name: str, least: int, path: str) -> int:
    """Which of the ways makes the name the path, given that they have a key in common; `least` is one that was used."""
    if name == path:
        return least
    if unquote(name) == path or name == unquote(path):
        return max(least, PERCENT)
    same = {unicodedata.normalize("NFC", word) for word in (name, unquote(name))}
    if same & {unicodedata.normalize("NFC", word) for word in (path, unquote(path))}:
        return max(least, COMPOSITION)
    return CASE
