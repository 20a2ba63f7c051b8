"""A folder as the source: every entry with an image's suffix, one folder after the other."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imagehaul.errors import Code, SourceError
from imagehaul.records import SourceFile, SourceOptions
from imagehaul.sources import local_file
from imagehaul.sources.archive_file import refuse_unread
from imagehaul.sources.filters import Selection
from imagehaul.sources.formats import SNIFFED, is_apple_double, suffix_of
from imagehaul.sources.scan_report import ScanReport
from imagehaul.sources.source import CopyOrigin, Entry, Fetched, Source, SourceDescriptor, SourceTools, SourceType

Identity = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Its files are used where they lie."""

    root: Path
    selection: Selection
    follow_links: bool

    def scan(self, report: ScanReport) -> Iterator[SourceFile]:
        return list_folder(self.root, self.selection, report, self.follow_links)

    def fetch(self, entries: Sequence[Entry], whole: Sequence[bool], folder: Path) -> list[Fetched]:
        root = f"{self.root}".rstrip("/")
        return [Fetched(f"{root}/{entry.path}", local_file.time_of(entry.version)) for entry in entries]

    def has_changed(self, entry: Entry) -> bool:
        return local_file.has_changed(f"{self.root}/{entry.path}", entry)

    def copy_from(self, entry: Entry) -> CopyOrigin | None:
        return None


def _describe(source: str, options: SourceOptions, scratch: str) -> SourceDescriptor:
    folder = Path(os.path.abspath(os.path.expanduser(source)))  # noqa: PTH100, PTH111 - these never raise
    try:
        folder.stat()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SourceError(f"The source {str(folder)!r} cannot be read: {why}.") from None
    if not folder.is_dir():
        refuse_unread(str(folder))
        raise SourceError(f"The source {str(folder)!r} is a file. Give its folder, {str(folder.parent)!r}.")
    if scratch and Path(scratch).resolve().is_relative_to(folder.resolve()):
        raise SourceError(f"SCRATCH={scratch} lies in the source {str(folder)!r}. Name a folder outside of it.")
    return SourceDescriptor("folder", str(folder), options)


def _open(descriptor: SourceDescriptor, tools: SourceTools) -> Source:
    options = descriptor.options
    return FolderSource(
        Path(descriptor.uri), Selection(options.include, options.exclude, options.suffixes), options.follow_links
    )


TYPE = SourceType("folder", lambda source: "://" not in source, _describe, _open)


@dataclass(frozen=True, slots=True)
class _Folder:
    """`name`: relative to the source, as rows show it, with a `/` at its end; "" is the source itself.

    `utf8`: all of the name is. `linked`: a link is on the way here. `above`: the folders that lead here.
    """

    path: bytes
    name: str
    utf8: bool
    linked: bool
    above: frozenset[Identity]


@dataclass(frozen=True, slots=True)
class _Entry:
    entry: os.DirEntry[bytes]
    name: str
    utf8: bool


def list_folder(
    folder: Path, selection: Selection, report: ScanReport, follow_links: bool = False
) -> Iterator[SourceFile]:
    """Streamed: no more is held than one folder's entries, and the folders that wait. Sorted within a folder.

    Links to files and folders inside the source are followed, and those that lead out of it with `follow_links`.
    Raises `SourceError` where a folder cannot be listed: what it holds is unknown then, and not gone.
    """
    walk = _Walk(os.path.realpath(os.fsencode(folder)), selection, report, follow_links)
    waiting = [_Folder(os.fsencode(folder), "", True, False, frozenset())]
    while waiting:
        here = waiting.pop()
        try:
            entries, identity = _entries(here)
        except OSError as error:
            yield _unlisted(here, error)
            continue
        if here.linked and identity in here.above:
            report.cycles.add(here.name)
            continue
        inside = replace(here, above=here.above | {identity})
        below = []
        for entry in _named(here, entries):
            found = walk.look_at(entry, inside)
            if isinstance(found, SourceFile):
                yield found
            elif found:
                below.append(found)
        waiting.extend(reversed(below))


def _entries(folder: _Folder) -> tuple[list[os.DirEntry[bytes]], Identity]:
    """Last name first, so that the list can be emptied from its end."""
    with os.scandir(folder.path) as scan:
        entries = sorted(scan, key=lambda entry: entry.name, reverse=True)
    status = os.stat(folder.path)  # noqa: PTH116 - pathlib takes no bytes
    return entries, (status.st_dev, status.st_ino)


def _unlisted(folder: _Folder, error: OSError) -> SourceFile:
    """The row of a folder that lies too deep for this system: what it holds has no path that can be opened.

    Raises `SourceError` where a folder cannot be listed for another reason.
    """
    if error.errno == errno.ENAMETOOLONG:
        return SourceFile(folder.name.rstrip("/"), 0, "", Code.PATH_TOO_LONG, Code.PATH_TOO_LONG.meaning)
    if not folder.name:
        raise SourceError(
            f"The source {os.fsdecode(folder.path)!r} cannot be listed: {error.strerror}. "
            "Grant permission, or check the disk or the mount."
        ) from None
    raise _unknown(f"The folder {folder.name!r}", error) from None


def _named(folder: _Folder, entries: list[os.DirEntry[bytes]]) -> Iterator[_Entry]:
    """The bytes of the names are read as UTF-8, whatever the locale says; what is none is shown as `\\xNN`.

    Empties the list, since each entry keeps what was looked up about it.
    """
    taken = {entry.name for entry in entries if b"\\" in entry.name}
    while entries:
        entry = entries.pop()
        try:
            yield _Entry(entry, folder.name + entry.name.decode(), folder.utf8)
        except UnicodeDecodeError:
            shown = entry.name.decode("utf-8", "backslashreplace")
            while shown.encode() in taken:
                # Another file is truly called so.
                shown = "\\" + shown
            taken.add(shown.encode())
            yield _Entry(entry, folder.name + shown, False)


def _unknown(what: str, error: OSError) -> SourceError:
    return SourceError(
        f"{what} of the source cannot be read: {error.strerror}. What it holds is unknown, so nothing was sent. "
        "Grant permission, check the disk or the mount, or leave it out with EXCLUDE."
    )


@dataclass(frozen=True, slots=True)
class _Walk:
    root: bytes
    selection: Selection
    report: ScanReport
    follow_links: bool

    def look_at(self, item: _Entry, here: _Folder) -> SourceFile | _Folder | None:
        entry = item.entry
        try:
            if entry.is_symlink():
                return self._link(item, here)
            if entry.is_dir(follow_symlinks=False):
                return self._folder(item, here, here.linked)
        except OSError as error:
            # A link into a closed folder; and some file systems do not say an entry's kind in the listing.
            if self.selection.is_image(item.name):
                return self._row(item, Code.UNREADABLE, f"{error.strerror}.")
            if self.selection.prunes(item.name):
                self.report.unread_folders.add(item.name)
                return None
            raise _unknown(f"The entry {item.name!r}", error) from None
        return self._file(item, None)

    def _folder(self, item: _Entry, here: _Folder, linked: bool) -> _Folder | None:
        if self.selection.prunes(item.name):
            self.report.unread_folders.add(item.name)
            return None
        return _Folder(item.entry.path, f"{item.name}/", item.utf8, linked, here.above)

    def _link(self, item: _Entry, here: _Folder) -> SourceFile | _Folder | None:
        outside = not self.follow_links and self._leads_out(item.entry.path)
        try:
            status = item.entry.stat()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                if not outside:
                    raise
                return self._not_followed(item, Code.LINK_OUTSIDE)
            return self._not_followed(item, Code.LINK_CYCLE if error.errno == errno.ELOOP else Code.LINK_DANGLING)
        if not stat.S_ISDIR(status.st_mode):
            return self._row(item, Code.LINK_OUTSIDE, _target(item)) if outside else self._file(item, status)
        if outside:
            return self._not_followed(item, Code.LINK_OUTSIDE)
        if (status.st_dev, status.st_ino) in here.above:
            return self._not_followed(item, Code.LINK_CYCLE)
        return self._folder(item, here, linked=True)

    def _leads_out(self, path: bytes) -> bool:
        real = os.path.realpath(path)
        return real != self.root and not real.startswith(self.root.rstrip(b"/") + b"/")

    def _not_followed(self, item: _Entry, code: Code) -> SourceFile | None:
        """A row where the link has an image's suffix, else a count and an example."""
        if self.selection.is_image(item.name):
            return self._row(item, code, _target(item))
        if not self.selection.prunes(item.name):
            tallies = {Code.LINK_OUTSIDE: self.report.outside, Code.LINK_CYCLE: self.report.cycles}
            tallies.get(code, self.report.dangling).add(item.name)
        return None

    def _file(self, item: _Entry, status: os.stat_result | None) -> SourceFile | None:
        """`status` is that of a link's target."""
        try:
            if not (self._is_hidden_image(item) if self.selection.may_be_image(item.name) else self._wanted(item.name)):
                return None
            if _is_twin(item):
                self.report.apple_doubles.add(item.name)
                return None
            status = status or item.entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return _rejected(item, Code.SOURCE_GONE, "")
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return _rejected(item, Code.PATH_TOO_LONG, "")
            return _rejected(item, Code.UNREADABLE, f"{error.strerror}.")
        if not stat.S_ISREG(status.st_mode):
            return _rejected(item, Code.NOT_A_FILE, "")
        if not item.utf8:
            return _rejected(item, Code.NAME_NOT_UTF8, "", status)
        return SourceFile(item.name, status.st_size, local_file.version_of(status))

    def _is_hidden_image(self, item: _Entry) -> bool:
        """Whether a file without a suffix holds a picture. Raises OSError where nobody can tell, and it matters."""
        takes = self.selection.takes(item.name)
        try:
            is_picture = bool(suffix_of(_beginning(item)))
        except OSError:
            if takes:
                raise
            is_picture = True
        if not is_picture:
            self.report.leave_out(item.name)
        elif not takes:
            self.report.excluded += 1
        return is_picture and takes

    def _row(self, item: _Entry, code: Code, detail: str) -> SourceFile | None:
        return _rejected(item, code, detail) if self._wanted(item.name) else None

    def _wanted(self, name: str) -> bool:
        if not self.selection.is_image(name):
            self.report.leave_out(name)
        elif not self.selection.takes(name):
            self.report.excluded += 1
        else:
            return True
        return False


def _beginning(item: _Entry) -> bytes:
    """The first bytes of a regular file; none of what is no such file. Raises OSError."""
    if not item.entry.is_file():
        return b""
    with open(item.entry.path, "rb") as file:  # noqa: PTH123 - pathlib takes no bytes
        return file.read(SNIFFED)


def _is_twin(item: _Entry) -> bool:
    """Whether it is what macOS keeps beside a file of that name, and no picture."""
    if not item.name.rpartition("/")[2].startswith("._"):
        return False
    try:
        return is_apple_double(_beginning(item))
    except OSError:
        return False  # It has a row, which will say it.


def _rejected(item: _Entry, code: Code, detail: str, status: os.stat_result | None = None) -> SourceFile:
    size, version = (status.st_size, local_file.version_of(status)) if status else (0, "")
    return SourceFile(item.name, size, version, code, f"{code.meaning} {detail}".rstrip())


def _target(item: _Entry) -> str:
    try:
        target = os.readlink(item.entry.path)  # noqa: PTH115 - pathlib takes no bytes
    except OSError:
        return ""
    return f"It leads to {target.decode('utf-8', 'backslashreplace')!r}."
