"""A folder or a prefix in which archives are opened, too: `ARCHIVES=open`.

What an archive holds has the archive's own path, without its suffix, before its own: `parts/train.zip` with `a/1.jpg`
in it gives `parts/train/a/1.jpg`, as if each archive had been unpacked into a folder of its name. Pictures beside the
archives are delivered as well, and annotations are found in both: all of them are laid out in one folder.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from imagehaul.errors import SourceError
from imagehaul.records import SourceFile, SourceOptions
from imagehaul.sources import folder, prefix
from imagehaul.sources.archive import ArchiveSource
from imagehaul.sources.archive_file import is_archive, is_sequential, without_suffix
from imagehaul.sources.archive_members import Member, is_location
from imagehaul.sources.filters import Selection
from imagehaul.sources.folder import FolderSource
from imagehaul.sources.prefix import PrefixSource
from imagehaul.sources.scan_report import ScanReport
from imagehaul.sources.source import CopyOrigin, Entry, Fetched, Source, SourceDescriptor, SourceTools, SourceType

OPENED = (folder.TYPE, prefix.TYPE)
"""Kinds of sources that may hold archives."""
_FETCHED = 500
"""Annotation files of a store that are fetched at once."""


@dataclass(frozen=True)
class _Wider(Selection):
    """Takes archives and annotations for images, so that a listing gives them; INCLUDE is not about them."""

    tools: SourceTools = field(default_factory=SourceTools, kw_only=True)

    def is_image(self, path: str) -> bool:
        return super().is_image(path) or is_archive(path) or self.tools.tells_of_images(path)

    def takes(self, path: str) -> bool:
        if super().is_image(path):
            return super().takes(path)
        return not (self._excluded and self._excluded.fullmatch(path))


@dataclass(slots=True)
class OpenedSource:
    """`outer`: the folder or prefix, whose listing gives archives and annotations, too. `root`: before their paths."""

    outer: FolderSource | PrefixSource
    root: str
    selection: Selection
    tools: SourceTools
    _archives: dict[str, ArchiveSource] = field(default_factory=dict, init=False, repr=False)

    @property
    def is_sequential(self) -> bool:
        """As far as archives are known: after the scan, all of them."""
        return any(map(is_sequential, self._archives))

    # -- scan ------------------------------------------------------------------------------------------------------

    def scan(self, report: ScanReport) -> Iterator[SourceFile]:
        beside = self._scratch() / "opened"
        beside.mkdir()
        waiting: list[SourceFile] = []
        for entry in self.outer.scan(report):
            if self.selection.is_image(entry.path):
                yield entry
            elif is_archive(entry.path):
                yield from self._scan_archive(entry, beside, report)
            else:
                report.leave_out(entry.path)
                if not entry.code:
                    waiting.append(entry)
                if len(waiting) == _FETCHED:
                    self._lay_out(waiting, beside)
                    waiting.clear()
        self._lay_out(waiting, beside)
        report.annotations = beside

    def _scan_archive(self, entry: SourceFile, beside: Path, report: ScanReport) -> Iterator[SourceFile]:
        if entry.code:
            raise SourceError(
                f"The archive {entry.path!r} of {self.root} cannot be opened ({entry.code}), so that what it holds is "
                "unknown, and nothing was sent. Mend it, or leave it out with EXCLUDE."
            )
        source, above = self._archive(self.root + entry.path), without_suffix(entry.path)
        within = ScanReport()
        for member in source.scan(within):
            path = f"{above}/{member.path}"
            if member.code or self.selection.takes(path):
                yield replace(member, path=path)
            else:
                report.excluded += 1
        report.left_out.update(within.left_out)
        report.apple_doubles.merge(within.apple_doubles)
        if within.annotations:
            _move(within.annotations, beside, above)

    def _lay_out(self, entries: Sequence[SourceFile], beside: Path) -> None:
        """Files that may be annotations, in their places. What is a file already is linked to."""
        if not entries:
            return
        with_bytes = self._scratch() / "annotations-fetched"
        with_bytes.mkdir(exist_ok=True)
        for entry, found in zip(entries, self.outer.fetch(entries, [True] * len(entries), with_bytes), strict=True):
            if found.code:
                raise SourceError(f"{entry.path!r} of {self.root}, which may hold annotations, cannot be read.")
            target = _place(beside, Path(entry.path))
            if isinstance(self.outer, FolderSource):
                target.symlink_to(found.file)
            else:
                shutil.move(found.file, target)

    def _scratch(self) -> Path:
        if self.tools.scratch is None:
            raise SourceError("Archives need a folder for temporary files, and there is none.")
        return self.tools.scratch

    # -- what was listed -------------------------------------------------------------------------------------------

    def _archive(self, uri: str) -> ArchiveSource:
        """INCLUDE and EXCLUDE are about paths that begin with the archive's: they are not for it to judge."""
        if uri not in self._archives:
            self._archives[uri] = ArchiveSource(uri, Selection(suffixes=self.selection.suffixes), self.tools)
        return self._archives[uri]

    def _of(self, entry: Entry) -> Source:
        return self._archive(Member.of(entry.location).archive) if is_location(entry.location) else self.outer

    def fetch(self, entries: Sequence[Entry], whole: Sequence[bool], folder: Path) -> list[Fetched]:
        found: dict[int, Fetched] = {}
        for number, (source, places) in enumerate(self._by_source(entries)):
            below = folder / f"part-{number}"
            below.mkdir(exist_ok=True)
            answers = source.fetch([entries[place] for place in places], [whole[place] for place in places], below)
            found |= dict(zip(places, answers, strict=True))
        return [found[place] for place in range(len(entries))]

    def stage(self, entries: Sequence[Entry]) -> list[Path]:
        """Of archives that are compressed as a whole. Raises what reading them raises."""
        files: list[Path] = []
        for source, places in self._by_source(entries):
            if isinstance(source, ArchiveSource) and source.is_sequential:
                files += source.stage([entries[place] for place in places])
        return files

    def _by_source(self, entries: Sequence[Entry]) -> Iterator[tuple[Source, list[int]]]:
        """Runs of entries that lie in one place, in order."""
        runs = itertools.groupby(range(len(entries)), key=lambda place: id(self._of(entries[place])))
        for _, places in runs:
            some = list(places)
            yield self._of(entries[some[0]]), some

    def has_changed(self, entry: Entry) -> bool:
        return self._of(entry).has_changed(entry)

    def copy_from(self, entry: Entry) -> CopyOrigin | None:
        return self._of(entry).copy_from(entry)


def _move(inside: Path, beside: Path, archive: str) -> None:
    """The files of an archive to those of the others, below the archive's name."""
    for above, _, names in os.walk(inside):
        for name in names:
            file = Path(above, name)
            file.rename(_place(beside, Path(archive, file.relative_to(inside))))


def _place(beside: Path, path: Path) -> Path:
    """Where such a file goes. Raises `SourceError` where there is one already: both would tell of the same pictures."""
    place = beside / path
    if place.is_symlink() or place.is_file():
        raise SourceError(
            f"{str(path)!r} is there twice: in an archive of that name, and in a folder or another archive. "
            "Leave one of them out with EXCLUDE, or rename it."
        )
    file = next((above for above in path.parents if (beside / above).is_file()), path)
    if place.is_dir() or file != path:
        raise SourceError(
            f"{str(file)!r} is a file, and the name of a folder or an archive, too, so that their annotations cannot "
            "lie in one place. Leave one of them out with EXCLUDE, or rename it."
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _describe(source: str, options: SourceOptions, scratch: str) -> SourceDescriptor:
    kind = next(kind for kind in reversed(OPENED) if kind.recognizes(source))
    return replace(kind.describe(source, options, scratch), type=TYPE.name)


def _open(descriptor: SourceDescriptor, tools: SourceTools) -> Source:
    options = descriptor.options
    wider = _Wider(options.include, options.exclude, options.suffixes, tools=tools)
    outer = folder.TYPE if "://" not in descriptor.uri else prefix.TYPE
    opened = outer.open(descriptor, tools)
    assert isinstance(opened, FolderSource | PrefixSource)
    root = f"{descriptor.uri.rstrip('/')}/"
    selection = Selection(options.include, options.exclude, options.suffixes)
    return OpenedSource(replace(opened, selection=wider), root, selection, tools)


TYPE = SourceType("opened", lambda source: False, _describe, _open)
"""Chosen by `ARCHIVES=open`, and never by a form."""
