"""Changed copies of frozen records, for those of which each image needs several."""

from __future__ import annotations

from typing import Any, Self


class Changeable:
    """A frozen dataclass without slots that is copied with other values."""

    def but(self, **fields: Any) -> Self:
        """The same with these fields. `dataclasses.replace` takes three to ten times as long, and checks no more."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__, **fields)
        return copy
