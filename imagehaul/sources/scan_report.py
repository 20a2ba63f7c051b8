"""What a listing of the source meets: how an image is told, and what else was there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imagehaul.errors import SourceError
from imagehaul.metadata import MetadataReader

IMAGE_SUFFIXES = ("png", "jpg", "jpeg", "jfif", "gif", "tif", "tiff", "heic", "heif", "bmp", "webp", "avif", "jp2")
"""Of any case. What a file truly holds is seen when it is read."""

_SUFFIXES = frozenset(IMAGE_SUFFIXES)


def is_image(path: str) -> bool:
    """By the suffix alone; a file that is named just `.jpg` is one too."""
    _, dot, suffix = path.rpartition(".")
    return bool(dot) and suffix.lower() in _SUFFIXES


@dataclass(slots=True)
class Tally:
    """How many, and the first of them as an example."""

    count: int = 0
    example: str = ""

    def add(self, name: str) -> None:
        self.count += 1
        self.example = self.example or name


@dataclass(slots=True)
class ScanReport:
    """Counts that fill while a listing is read; complete once it ended.

    `images`: rows given, rejected ones too. `excluded`: images that INCLUDE or EXCLUDE left out;
    `unread_folders`: folders that EXCLUDE left out whole. `own_objects`: what imagehaul wrote itself.
    `outside`, `cycles`, `dangling`: links without an image's suffix that were not followed.
    `apple_doubles`: `._name` files of macOS. `annotations`: a folder in which an archive's annotation
    files lie as they do in it. `metadata`: the further columns of a list.
    """

    images: int = 0
    other_files: int = 0
    excluded: int = 0
    unread_folders: Tally = field(default_factory=Tally)
    own_objects: Tally = field(default_factory=Tally)
    outside: Tally = field(default_factory=Tally)
    cycles: Tally = field(default_factory=Tally)
    dangling: Tally = field(default_factory=Tally)
    apple_doubles: Tally = field(default_factory=Tally)
    annotations: Path | None = None
    metadata: MetadataReader = field(default_factory=lambda: MetadataReader("source"))

    def warnings(self) -> Iterator[str]:
        for tally, what in (
            (self.own_objects, "objects were left out: imagehaul stored them in its data sets"),
            (self.unread_folders, "folders were not listed: EXCLUDE leaves them out"),
            (self.outside, "links to folders outside of the source were not followed (FOLLOW_LINKS=true does)"),
            (self.cycles, "links to a folder that they lie in themselves were not followed"),
            (self.apple_doubles, "files beside pictures were left out: macOS keeps in them what other systems cannot"),
            (self.dangling, "links lead nowhere: if folders belong there, their images are missing"),
        ):
            if tally.count:
                yield f"In the source, {tally.count} {what}, such as {tally.example!r}."

    def refuse_none(self, source: str) -> None:
        """Raises `SourceError` where the listing gave no image."""
        if self.images:
            return
        counts = [f"{self.other_files} other files", f"{self.excluded} excluded images"]
        counts += [f"{self.unread_folders.count} excluded folders"] * bool(self.unread_folders.count)
        counts += [f"{self.own_objects.count} objects that imagehaul stored"] * bool(self.own_objects.count)
        raise SourceError(
            f"There are no images in {source!r}, only {', '.join(counts)}. An image's name ends in "
            f".{', .'.join(IMAGE_SUFFIXES[:-1])} or .{IMAGE_SUFFIXES[-1]}."
        )
