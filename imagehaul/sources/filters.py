"""Which paths of the source are wanted: INCLUDE and EXCLUDE.

Globs are compared with the path relative to the source, case-sensitively, as `.gitignore` does it:

    *.jpg           a glob without `/` is compared with the file's name, in any folder
    a/*.jpg         one with `/` from the source's root on; `*` and `?` stay within a folder
    a/**/b.jpg      `**/` spans any number of folders, none too
    a/**            all below `a`
    old/            all below any folder of that name; `a/old/` names one folder
    [a-c], [!x]     one character of these, or any other

A folder of which EXCLUDE takes all (`old/`, `a/**`) is not even listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from imagehaul.sources.scan_report import is_image, suffix_of_name

_TOKEN = re.compile(r"(?<![^/])\*\*/|\*+|\?|\[!?\]?[^\]/]*\]|.", re.DOTALL)


@dataclass(frozen=True)
class Selection:
    """What INCLUDE, EXCLUDE and SUFFIXES select. `suffixes`: in any case, with their dot or without."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    _more: frozenset[str] = field(init=False, repr=False, compare=False)
    _included: re.Pattern[str] | None = field(init=False, repr=False, compare=False)
    _excluded: re.Pattern[str] | None = field(init=False, repr=False, compare=False)
    _pruned: re.Pattern[str] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        excluded = [_from_root(glob) for glob in self.exclude]
        whole_folders = [glob.removesuffix("/**") for glob in excluded if glob.endswith("/**")]
        object.__setattr__(self, "_more", frozenset(suffix.lstrip(".").lower() for suffix in self.suffixes))
        object.__setattr__(self, "_included", _any_of(map(_from_root, self.include)))
        object.__setattr__(self, "_excluded", _any_of(excluded))
        object.__setattr__(self, "_pruned", _any_of(whole_folders))

    def is_image(self, path: str) -> bool:
        """By its suffix."""
        return is_image(path, self._more)

    def may_be_image(self, path: str) -> bool:
        """Whether its content is to be looked at, since it has no suffix: SUFFIXES has `none`."""
        return "none" in self._more and not suffix_of_name(path) and not path.endswith("/")

    def takes(self, path: str) -> bool:
        if self._included and not self._included.fullmatch(path):
            return False
        return not (self._excluded and self._excluded.fullmatch(path))

    def prunes(self, folder: str) -> bool:
        """`folder` without a `/` at its end."""
        return bool(self._pruned and self._pruned.fullmatch(folder))


def _from_root(glob: str) -> str:
    anchored = "/" in glob.rstrip("/")
    glob = glob.lstrip("/") + ("**" if glob.endswith("/") else "")
    return glob if anchored else f"**/{glob}"


def _any_of(globs: Iterable[str]) -> re.Pattern[str] | None:
    expressions = [_expression(glob) for glob in globs]
    return re.compile("|".join(expressions), re.DOTALL) if expressions else None


def _expression(glob: str) -> str:
    return "".join(_piece(token) for token in _TOKEN.findall(glob))


def _piece(token: str) -> str:
    if token == "**/":
        return "(?:.*/)?"
    if token[0] == "*":
        return ".*" if len(token) > 1 else "[^/]*"
    if token == "?":
        return "[^/]"
    if token[0] == "[" and len(token) > 2:
        negated = "^" if token[1] == "!" else ""
        members = re.sub(r"([\\\[&~|^])", r"\\\1", token[1 + len(negated) : -1])
        try:
            re.compile(f"[{negated}{members}]")
        except re.error:
            # A range that ends before it begins: compared as it stands.
            return re.escape(token)
        return f"(?!/)[{negated}{members}]"
    return re.escape(token)
