"""A single file of this machine as a source's entry."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from imagehaul.errors import Code, SourceError
from imagehaul.records import SourceFile
from imagehaul.sources.source import Entry


def look(path: str) -> SourceFile:
    """Size and version of the file, or the code that says why it cannot be delivered. Links are followed."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a tenth of a Path's time, for every row
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return SourceFile("", 0, "", Code.SOURCE_MISSING, "There is no such file.")
    except OSError as error:
        return SourceFile("", 0, "", Code.UNREADABLE, f"{error.strerror}.")
    if stat.S_ISDIR(status.st_mode):
        return SourceFile("", 0, "", Code.NOT_A_FILE, "It is a folder.")
    if not stat.S_ISREG(status.st_mode):
        return SourceFile("", 0, "", Code.NOT_A_FILE)
    return SourceFile("", status.st_size, version_of(status))


def readable(path: str, what: str) -> str:
    """The absolute path. Raises `SourceError` where it cannot be read; `what`: its kind, such as "list"."""
    file = Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111 - these never raise
    try:
        mode = file.stat().st_mode
        stays = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
        # To open a pipe would wait for whoever writes into it.
        if stays:
            file.open("rb").close()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SourceError(f"The {what} {str(file)!r} cannot be read: {why}.") from None
    if not stays:
        raise SourceError(
            f"The {what} {str(file)!r} is a pipe or a device, and it is read more than once.\n"
            "Write it to a file, and name that."
        )
    return str(file)


def has_changed(path: str, entry: Entry) -> bool:
    """Whether it is another than it was listed as, or gone."""
    try:
        now = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return True
    version = version_of(now) if " " in entry.version else str(now.st_mtime_ns)
    return (now.st_size, version) != (entry.size, entry.version)


def version_of(status: os.stat_result) -> str:
    """Time of the last change of the content, time of the last change of all else (both in nanoseconds), and inode.

    The first can be set back, as `cp -p` and archives do; the others then tell that the content must be looked at.
    Where a file system has no inodes, the first alone.
    """
    if not status.st_ino:
        return str(status.st_mtime_ns)
    return f"{status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def time_of(version: str) -> str:
    """The time of the last change of the content, which a reader compares once more."""
    return version.partition(" ")[0]
