"""Names without their suffix, for formats that name a picture's labels after it."""

from __future__ import annotations

import posixpath


class Stems:
    """Gives each name's stem, or None where an earlier name had the same: `a.jpg` and `a.png` share their labels' name.

    Sorted names need little memory: all that share a stem begin with it and a dot, and so lie in one stretch of the
    order. What has to be remembered are the stems that the name at hand begins with. Of names in no order all are.
    """

    def __init__(self, names_are_sorted: bool) -> None:
        self._sorted = names_are_sorted
        self._seen: list[str] = []
        self._all: set[str] = set()

    def stem_of(self, name: str) -> str | None:
        stem, _ = posixpath.splitext(name)
        if not self._sorted:
            known = stem in self._all
            self._all.add(stem)
            return None if known else stem
        while self._seen and not name.startswith(f"{self._seen[-1]}."):
            self._seen.pop()
        if stem in self._seen:
            return None
        self._seen.append(stem)
        return stem
