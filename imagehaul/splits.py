"""The parts of a data set, as its layout tells them apart: `train`, `val`, `test` and the like."""

from __future__ import annotations

import re

_SPLIT = re.compile(
    r"(train|training|trainval|val|valid|validation|minival|dev|eval|test|testing)(-?\d{4})?", re.IGNORECASE
)
_APART = re.compile(r"[_\-. ]")

LAYOUT_FOLDERS = frozenset({"images", "labels", "JPEGImages", "Annotations", "annotations"})
"""Folders that tell pictures from annotations, and say nothing of which picture is meant."""


def split_of_folder(name: str) -> str:
    """`train` for `train`, `train2017`; "" where the folder's name is no split's."""
    found = _SPLIT.fullmatch(name)
    return found[1].lower() if found else ""


def split_in_name(stem: str) -> str:
    """The word of a file's name that tells its split, as it stands: `train2017` in `instances_train2017`; "" for none.

    A name with two such words tells none.
    """
    words = [word for word in _APART.split(stem) if _SPLIT.fullmatch(word)]
    return words[0] if len(words) == 1 else ""


def folder_of_split(folder: str) -> str:
    """The path as far as its deepest folder that has a split's name; "" where none has."""
    parts = folder.split("/")
    while parts and not split_of_folder(parts[-1]):
        parts.pop()
    return "/".join(parts)


def told_apart(folder: str, root: str = "") -> tuple[str, ...]:
    """The folders that a label file's picture must share with it, whatever else its path is.

    `folder` lies below `root`, the folder of annotations that was found or named. Of the root's own path those count
    that stand behind `labels` or `Annotations`, and those with a split's name. The name of a folder that holds all
    boxes tells no pictures apart.
    """
    above = [part for part in root.split("/") if part]
    behind = max((index for index, part in enumerate(above) if part in LAYOUT_FOLDERS), default=len(above))
    shared = [part for index, part in enumerate(above) if index > behind or split_of_folder(part)]
    return tuple(part for part in [*shared, *folder.split("/")] if part and part not in LAYOUT_FOLDERS)
