"""What the command makes of the process that it was started in: its streams, and how file names are spelt.

A delivery takes hours. That its own report cannot be written, since a terminal has gone or a disk is full, must neither
end it nor change its exit status. Where what is written is all that a command is for, `output_lost` tells.
"""

from __future__ import annotations

import atexit
import errno
import gc
import io
import os
import sys
from pathlib import Path
from typing import Any

from imagehaul.arrow import keep_arrow_small
from imagehaul.errors import SettingsError

_STANDARD = (0, 1, 2)

OBJECTS_A_COLLECTION = 20_000
"""How many new objects the garbage collector waits for; Python says 700. Modules that are imported make hundreds of
thousands that stay, and to look through them again and again was a tenth of a run with nothing to do."""


def settle() -> None:
    """To be called first. Does not return where Python has to start anew, to read file names as UTF-8.

    Raises `SettingsError` where the working folder is gone.
    """
    gc.set_threshold(OBJECTS_A_COLLECTION)
    keep_arrow_small()
    # What is registered first is called last: when all others have put away what is theirs.
    atexit.register(_end_at_once)
    _open_missing()
    _spell_names_as_utf8()
    if os.path.expanduser("~") == "~":  # noqa: PTH111 - pathlib's raises
        os.environ["HOME"] = "/"  # as container engines do for a user that has no entry in passwd
    sys.stdout = _forgiving(sys.stdout, 1)
    sys.stderr = _forgiving(sys.stderr, 2)
    try:
        Path.cwd()
    except OSError as error:
        raise SettingsError(
            f"The working folder cannot be used: {error.strerror}. Change to another folder, and run again."
        ) from error


def output_lost() -> str:
    """Why not all of standard output could be written; "" where it was."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.lost if isinstance(raw, _Forgiving) else ""


_statuses: list[int] = []


def ends_with(status: int) -> int:
    """The exit status of this process, which has nothing more to do."""
    _statuses.append(status)
    return status


def _end_at_once() -> None:
    """Without the interpreter's tidying up of every object: a seventh of a run with nothing to do."""
    if _statuses:  # Else an error that nobody foresaw ends it, with an exit status of its own.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_statuses[-1])


def _open_missing() -> None:
    """A descriptor that was closed (`2>&-`) would be given to the next file that is opened, and be written to."""
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _spell_names_as_utf8() -> None:
    """Names are bytes in UTF-8, here and in the store. With another locale Python would read them as that one's."""
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


class _Forgiving(io.RawIOBase):
    """Writes what can be written. `lost`: why something was not. That nobody reads on (`| head`) is no loss."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.lost = ""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        try:
            return os.write(self._descriptor, data)
        except OSError as error:
            if error.errno != errno.EPIPE:
                self.lost = error.strerror or str(error)
            return len(data)


def _forgiving(stream: Any, descriptor: int) -> io.TextIOWrapper:
    """A name that the terminal cannot show is escaped."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    raw = io.BufferedWriter(_Forgiving(descriptor))
    return io.TextIOWrapper(raw, encoding, errors="backslashreplace", line_buffering=True)
