"""The end of a run's lease, which the process that leads shares with its processes for batches, in a file in memory.

The leader alone renews the lease and asks the store. A process that read the lock by itself, as those on other machines
do, would need a client of boto3, which takes as long as half of its start. Where the leader sleeps or has lost the
lease, the end stays where it was, and by the clock of the machine that all of them share it passes.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable
from tempfile import TemporaryFile

from imagehaul.child_process import start_thread
from imagehaul.ledger.fence import now

LOOK_SECONDS = 1.0
_END = struct.Struct("d")


class SharedLease:
    """The leader's side: writes down what `holds_until` says, until it is closed. Raises OSError."""

    def __init__(self, holds_until: Callable[[], float]) -> None:
        self.descriptor = _new_file()
        self._holds_until = holds_until
        self._closed = threading.Event()
        self._write()
        self._thread = threading.Thread(target=self._keep_writing, name="shared lease", daemon=True)
        start_thread(self._thread)

    def close(self) -> None:
        if not self._closed.is_set():
            self._closed.set()
            self._thread.join()
            os.close(self.descriptor)

    def _keep_writing(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            self._write()

    def _write(self) -> None:
        os.pwrite(self.descriptor, _END.pack(self._holds_until()), 0)


def holds(descriptor: int) -> bool:
    """The other side: whether this process may send one more object, by what the leader wrote last."""
    (end,) = _END.unpack(os.pread(descriptor, _END.size, 0))
    return bool(now() < end)


def _new_file() -> int:
    """In memory where the system can: there no disk is full."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("imagehaul-lease")
    with TemporaryFile() as file:
        return os.dup(file.fileno())
