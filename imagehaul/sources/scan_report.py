"""What a listing of the source meets: how an image is told, and what else was there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imagehaul.errors import SourceError
from imagehaul.metadata import MetadataReader

IMAGE_SUFFIXES = (
    *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "jfi", "mpo", "gif", "tif", "tiff", "heic", "heif", "hif", "avif"),
    *("bmp", "webp", "jp2", "j2k", "jpx", "ico", "tga", "pbm", "pgm", "ppm", "pnm"),
)
"""Of any case. What a file truly holds is seen when it is read. SUFFIXES adds others."""
PICTURES_AND_VIDEOS = frozenset(
    (
        *("svg", "svgz", "jxl", "psd", "psb", "eps", "ai", "exr", "hdr", "dds", "pcx", "xcf", "raw"),
        *("jpg_large", "jpg_orig", "jpeg_large", "cr2", "cr3", "nef", "nrw", "arw", "srf", "sr2", "dng", "raf", "orf"),
        *("rw2", "pef", "srw", "x3f", "dcm", "dicom", "nii", "mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg"),
        *("wmv", "flv", "3gp", "mts", "m2ts"),
    )
)
"""Suffixes of what somebody may miss who finds it left out."""
ARCHIVES = ("zip", "tar", "tgz", "tzst")
"""Suffixes of archives; what ends in `.gz` may be anything."""
_MOST_SUFFIXES = 500
_LONGEST_SUFFIX = 20
OTHER = "other"

_SUFFIXES = frozenset(IMAGE_SUFFIXES)


def is_image(path: str, more: frozenset[str] = frozenset()) -> bool:
    """By the suffix alone; a file that is named just `.jpg` is one too. `more`: suffixes in lower case."""
    _, dot, suffix = path.rpartition(".")
    return bool(dot) and (suffix.lower() in _SUFFIXES or suffix.lower() in more)


def suffix_of_name(path: str) -> str:
    """In lower case and without its dot, "" where there is none."""
    name = path.rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    return suffix.lower() if dot and stem and len(suffix) <= _LONGEST_SUFFIX else ""


def in_words(left_out: Mapping[str, int]) -> str:
    """`12 .txt, 3 without a suffix`: the most frequent first."""
    ordered = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    names = {"": "without a suffix", OTHER: "of other suffixes"}
    return ", ".join(f"{count:,} {names.get(suffix, f'.{suffix}')}" for suffix, count in ordered)


@dataclass(slots=True)
class Tally:
    """How many, and the first of them as an example."""

    count: int = 0
    example: str = ""

    def add(self, name: str) -> None:
        self.count += 1
        self.example = self.example or name

    def merge(self, other: Tally) -> None:
        self.count += other.count
        self.example = self.example or other.example


@dataclass(slots=True)
class ScanReport:
    """Counts that fill while a listing is read; complete once it ended.

    `images`: rows given, rejected ones too. `left_out`: files that are no images by their names, by suffix; "" = they
    have none, and `OTHER` = of rare suffixes, once there are very many. `excluded`: images that INCLUDE or EXCLUDE left
    out; `unread_folders`: folders that EXCLUDE left out whole. `own_objects`: what imagehaul wrote itself. `outside`,
    `cycles`, `dangling`: links without an image's suffix that were not followed. `apple_doubles`: `._name` files of
    macOS. `annotations`: a folder in which an archive's annotation files lie as they do in it. `metadata`: the further
    columns of a list. `said`: what else there is to know, in sentences.
    """

    images: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    excluded: int = 0
    unread_folders: Tally = field(default_factory=Tally)
    own_objects: Tally = field(default_factory=Tally)
    outside: Tally = field(default_factory=Tally)
    cycles: Tally = field(default_factory=Tally)
    dangling: Tally = field(default_factory=Tally)
    apple_doubles: Tally = field(default_factory=Tally)
    annotations: Path | None = None
    metadata: MetadataReader = field(default_factory=lambda: MetadataReader("source"))
    said: list[str] = field(default_factory=list)

    @property
    def other_files(self) -> int:
        return self.left_out.total()

    def leave_out(self, path: str) -> None:
        suffix = suffix_of_name(path)
        self.left_out[suffix if suffix in self.left_out or len(self.left_out) < _MOST_SUFFIXES else OTHER] += 1

    def warnings(self) -> Iterator[str]:
        yield from self.said
        missed = {suffix: count for suffix, count in self.left_out.items() if suffix in PICTURES_AND_VIDEOS}
        if missed:
            yield (
                f"In the source, {sum(missed.values()):,} files were left out that may be pictures or videos: "
                f"{in_words(missed)}. SUFFIXES names suffixes of pictures that are to be delivered."
            )
        packed = sum(self.left_out[suffix] for suffix in ARCHIVES)
        if packed:
            yield (f"In the source, {packed:,} archives were left out. ARCHIVES=open delivers what they hold.")
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
        kinds = (
            (self.other_files, "other files"),
            (self.excluded, "excluded images"),
            (self.unread_folders.count, "excluded folders"),
            (self.own_objects.count, "objects that imagehaul stored"),
        )
        there = ", ".join(f"{what}: {count:,}" for count, what in kinds if count)
        raise SourceError(
            f"There are no images in {source!r} ({there or 'it is empty'}). An image's name ends in "
            f".{', .'.join(IMAGE_SUFFIXES[:-1])} or .{IMAGE_SUFFIXES[-1]}; SUFFIXES adds others."
        )
