"""A mask of COCO as runs, column by column, of pixels that are off and on in turn: the box around those that are on.

The format is pycocotools' (https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c, `rleFrString` and
`rleToBbox`): `counts` is a list of lengths, or a text of them in six bits a character, each length from the fourth on
as its difference from the one before the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from imagehaul.annotations.boxes import NO_BOX


@dataclass(slots=True)
class Mask:
    """`size`: height and width in pixels."""

    size: list[float] = field(default_factory=list)
    counts: list[float] | str = field(default_factory=list)


def box_of(mask: Mask) -> tuple[float, float, float, float]:
    """As x, y, width, height; without an area where no pixel is on, NaN where the mask is none."""
    runs = lengths(mask.counts) if isinstance(mask.counts, str) else mask.counts
    if (
        len(mask.size) != 2
        or runs is None
        or not all(number >= 0 and number.is_integer() for number in (*mask.size, *runs))
    ):
        return NO_BOX
    height, width = map(int, mask.size)
    if sum(runs) > height * width:
        return NO_BOX
    left, top, right, bottom = width, height, 0, 0
    for start, end in _on(map(int, runs)):
        first, last = start // height, (end - 1) // height
        left, right = min(left, first), max(right, last + 1)
        # A run that goes on in the next column touches the picture's lower and upper edge.
        top = min(top, 0 if last > first else start % height)
        bottom = max(bottom, height if last > first else (end - 1) % height + 1)
    return (left, top, right - left, bottom - top) if right else (0, 0, 0, 0)


def _on(runs: Iterable[int]) -> Iterator[tuple[int, int]]:
    position = 0
    for index, run in enumerate(runs):
        if index % 2 and run:
            yield position, position + run
        position += run


def lengths(text: str) -> Sequence[float] | None:
    """The runs of a compressed mask; None where the text is none."""
    runs: list[float] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            return None
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(float(value + (int(runs[-2]) if len(runs) > 2 else 0)))
        value = shift = 0
    return None if shift else runs
