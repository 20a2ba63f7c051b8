"""The objects of a COCO file's three lists, one after another, with what is read of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from imagehaul.annotations.boxes import coordinate
from imagehaul.annotations.rle import Mask
from imagehaul.errors import AnnotationError

ARRAYS = ("images", "categories", "annotations")
EXPECTED = "A COCO file is one object with the lists images, categories and annotations."
OTHER = object()
"""Stands for a map or list that is not looked into."""

_BEGINNINGS = frozenset({"start_map", "start_array"})
_ENDS = frozenset({"end_map", "end_array"})
_MAX_DEPTH = 64


def coco_objects(
    events: Iterable[tuple[str, Any]], found: set[str], shown: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object of the three arrays, with its plain values, and `bbox` and `segmentation` as numbers or a `Mask`.

    Depth 1 is the file's object, 2 an array in it, 3 an object in that, 4 and 5 the lists of numbers.
    `found` gets the names at depth 1.
    """
    depth, array, key = 0, "", ""
    fields: dict[str, Any] = {}
    numbers: list[float] | None = None
    mask: Mask | None = None
    for event, value in events:
        if event == "map_key":
            if depth == 3:
                key = value
            elif depth == 1:
                found.add(value)
                array = value if value in ARRAYS else ""
            elif depth == 4 and mask:
                key = value
        elif event in _BEGINNINGS:
            depth += 1
            if depth < 4 and (array or depth == 1) and event != ("start_array" if depth == 2 else "start_map"):
                raise _misshapen(shown, depth, array)
            if depth > _MAX_DEPTH:
                raise AnnotationError(f"{shown}: nested more than {_MAX_DEPTH} deep.\n{EXPECTED}")
            if depth == 3:
                fields = {}
            elif depth == 4 and array:
                if event == "start_array" and key in ("bbox", "segmentation"):
                    fields[key] = numbers = []
                else:
                    mask = Mask() if key == "segmentation" else None
                    fields[key] = mask or OTHER
            elif depth == 5 and mask:
                numbers = [] if event == "start_array" else None
                if numbers is not None and key in ("size", "counts"):
                    setattr(mask, key, numbers)
            elif numbers is not None and (key == "bbox" or depth > 5 or event == "start_map"):
                numbers.append(math.nan)
        elif event in _ENDS:
            if depth == 3 and array:
                yield array, fields
            elif depth == 4 or (depth == 5 and mask):
                numbers, mask = None, mask if depth == 5 else None
            elif depth == 5 and numbers is not None and len(numbers) % 2:
                numbers.append(math.nan)
            depth -= 1
        elif numbers is not None:
            numbers.append(float(value) if event == "number" else coordinate(value))
        elif depth == 4 and mask:
            if key == "counts" and event == "string":
                mask.counts = value
        elif depth == 3:
            if array:
                fields[key] = value
        elif depth < 3 and (array or depth == 0):
            raise _misshapen(shown, depth + 1, array)


def _misshapen(shown: str, depth: int, array: str) -> AnnotationError:
    wrong = {1: "its top is no object", 2: f"{array} is no list", 3: f"something in {array} is no object"}
    return AnnotationError(f"{shown}: {wrong[depth]}.\n{EXPECTED}")
