"""Annotations as a delivery reads them."""

from __future__ import annotations

from pathlib import Path

from imagehaul.annotations.format import Location
from imagehaul.annotations.reading import Reading
from imagehaul.annotations.registry import open_annotations


def location(path: Path, scratch: Path, folder: str | None = None, shown: str = "", source: str = "") -> Location:
    return Location(path, shown or str(path), folder, scratch, source_name=source)


def read_annotations(path: Path, scratch: Path, folder: str | None = None, shown: str = "") -> Reading:
    """Of a file or folder that holds one thing."""
    (reading,) = open_annotations(location(path, scratch, folder, shown))
    return reading
