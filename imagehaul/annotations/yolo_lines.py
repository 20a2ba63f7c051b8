"""The lines of a YOLO label file: which of their shapes they have, and the upright box of each.

All in shares of the picture's width and height (https://docs.ultralytics.com/datasets/detect/, /segment, /obb, /pose):

    class cx cy w h                     a box
    class cx cy w h conf                a detector's box; with the number of a track in place of `conf`, or behind it
    class x1 y1 x2 y2 x3 y3 …           a polygon, or with four points a rotated box; `conf` may stand behind it
    class cx cy w h px py v …           a box and its keypoints, with v = 0, 1 or 2, or a detector's certainty
    class cx cy w h px py …             the same without v

Nothing in a line says which it is, but for `kpt_shape` in the data set's YAML. So the numbers are looked at, of all
lines of the file that have as many.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from imagehaul.annotations.boxes import coordinate, from_centre, hull

Bounds = tuple[float, float, float, float]

KEYPOINTS = "Keypoints behind a box: the box is read, the keypoints are not used"
TRACK_OR_POLYGON = (
    "Seven numbers that may be a polygon of three points, or a box with confidence and track: read as a polygon"
)
PIXELS = "Numbers far beyond 1, where YOLO has shares of the picture's width and height: the box is read as it stands"

_EDGE = 0.01
"""Rounding, and boxes that are drawn a little beyond the picture's edge."""
_SPREAD = 0.6
"""Keypoints spread over more than this of their box's width and height. A polygon's points, taken for keypoints, do
not: the box would be centred on the first of them, which lies at the polygon's edge, and so it would have to be much
larger than the polygon to hold the others."""

_ROUND = 2
"""A way round a thing is seldom longer than this many times the box around it."""


@dataclass(frozen=True, slots=True)
class Line:
    """`number` from 1, in the file. `identity`: of the class. `bounds`: None where the line is none of these shapes.
    `remark`: what is to be said of how it was read, "" = nothing."""

    number: int
    identity: int
    bounds: Bounds | None
    remark: str = ""


def read_lines(lines: Iterable[str], pose: bool) -> Iterator[Line]:
    """The lines that hold anything. `pose`: the data set says that keypoints stand behind each box."""
    split = [(number, words) for number, line in enumerate(lines, 1) if (words := line.split())]
    shapes = {} if pose else _shapes(words for _, words in split)
    for number, words in split:
        numbers = [coordinate(word) for word in words]
        if len(words) < 5 or not numbers[0].is_integer() or numbers[0] < 0:
            yield Line(number, 0, None)
            continue
        bounds, remark = _bounds(numbers, KEYPOINTS if pose else shapes.get(len(words), ""))
        yield Line(number, int(numbers[0]), bounds, remark)


_TRACK = "track"


def _bounds(numbers: list[float], shape: str) -> tuple[Bounds | None, str]:
    """`shape`: what lines of so many numbers are in this file, where more than one thing is possible."""
    count = len(numbers)
    if count <= 6:
        box = from_centre(*numbers[1:5])
        return box, PIXELS if max(map(abs, box)) > 2 else ""
    if shape in (KEYPOINTS, _TRACK):
        return from_centre(*numbers[1:5]), "" if shape == _TRACK else shape
    if count % 2:
        return hull(numbers[1:]), shape
    # A polygon, or a rotated box, and its confidence.
    return (hull(numbers[1:-1]) if count >= 10 else None), shape


def _shapes(lines: Iterable[Sequence[str]]) -> dict[int, str]:
    """By how many words a line has."""
    shapes = {}
    for count, group in groupby(sorted((words for words in lines if len(words) > 6), key=len), key=len):
        alike = list(group)
        if count == 7:
            shapes[count] = _seven(alike)
        elif any(_have_keypoints([list(map(coordinate, words)) for words in alike], stride) for stride in (3, 2)):
            shapes[count] = KEYPOINTS
    return shapes


def _seven(lines: Sequence[Sequence[str]]) -> str:
    """Triangles, or boxes with confidence and track. Tracks are counted: they are whole, and soon beyond 1."""
    for words in lines:
        numbers = list(map(coordinate, words))
        if "." in words[6] or not numbers[6].is_integer() or not 0 <= numbers[5] <= 1 or not _in_picture(numbers):
            return ""
    if any(coordinate(words[6]) > 1 for words in lines):
        return _TRACK
    # 0 and 1 are edges of the picture too.
    return TRACK_OR_POLYGON if all("." in word for words in lines for word in words[1:6]) else ""


def _have_keypoints(lines: Sequence[Sequence[float]], stride: int) -> bool:
    """Whether what stands behind the first five numbers can be keypoints of that box, each of `stride` numbers."""
    points = (len(lines[0]) - 5) // stride
    behind = (len(lines[0]) - 5) % stride
    if not points or (points < 3 and (stride == 2 or behind)):
        return False
    certain = False
    for numbers in lines:
        box = from_centre(*numbers[1:5])
        at = range(5, 5 + points * stride, stride)
        # A point that is not in the picture stands as 0 0.
        seen = [(numbers[index], numbers[index + 1]) for index in at if numbers[index] or numbers[index + 1]]
        if not _in_picture(numbers) or not all(_holds(box, *point) for point in seen):
            return False
        if stride == 3 and {numbers[index + 2] for index in at} <= {0.0, 1.0, 2.0}:
            certain = True
        elif len(seen) > 2 and not (stride == 3 and _is_outline(numbers)):
            _, _, width, height = hull([number for point in seen for number in point])
            certain = certain or (width > _SPREAD * box[2] and height > _SPREAD * box[3])
    return certain


def _is_outline(numbers: Sequence[float]) -> bool:
    """Whether the numbers are points of a way round something. A pose, read so, takes certainties for places."""
    points = list(zip(numbers[1::2], numbers[2::2], strict=False))
    length = sum(math.dist(point, points[index - 1]) for index, point in enumerate(points))
    _, _, width, height = hull([number for point in points for number in point])
    return length <= _ROUND * 2 * (width + height)


def _holds(box: Bounds, x: float, y: float) -> bool:
    left, top, width, height = box
    return left - _EDGE <= x <= left + width + _EDGE and top - _EDGE <= y <= top + height + _EDGE


def _in_picture(numbers: Sequence[float]) -> bool:
    x, y, width, height = box = from_centre(*numbers[1:5])
    return (
        all(map(math.isfinite, box))
        and min(width, height) > 0
        and min(x, y) >= -_EDGE
        and max(x + width, y + height) <= 1 + _EDGE
    )
