"""Names without their suffix, for formats that name a picture's labels after it."""

from __future__ import annotations

import posixpath


class Stems:
    """Tells whose a stem is where several names have it: `a.jpg` and `a.png` share their labels' name.

    Sorted names need little memory: all that share a stem begin with it, and so lie in one stretch of the order. What
    has to be remembered are the stems that the name at hand begins with. Of names in no order all are.
    """

    def __init__(self, names_are_sorted: bool) -> None:
        self._sorted = names_are_sorted
        self._seen: set[str] = set()

    def stem_of(self, name: str) -> str | None:
        """None where an earlier name has it."""
        stem, _ = posixpath.splitext(name)
        return stem if self._is_first(stem, name) else None

    def own_name(self, name: str) -> str:
        """The stem, or the whole name where an earlier one has that. No two names are given the same."""
        if stem := self.stem_of(name):
            return stem
        own = name
        while not self._is_first(own, name):  # In no order, `a.png.jpg` may have come before `a.png`.
            own += "_"
        return own

    def _is_first(self, wanted: str, name: str) -> bool:
        if self._sorted:
            self._seen = {seen for seen in self._seen if name.startswith(seen)}
        known = wanted in self._seen
        self._seen.add(wanted)
        return not known
