"""The lease as a worker sees it: fence, stop signal and end of life in one, on whatever machine the worker runs.

A worker reads the lock object every few seconds. Clocks of two machines are never compared: how old the lease was,
the answer's own `Date` says, and from then on the worker's clock counts, which only goes forward.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagehaul.errors import StoreError
from imagehaul.layout import Layout
from imagehaul.ledger.lock_object import LockObject
from imagehaul.records import ObjectOptions
from imagehaul.store.conditional_writes import Capabilities
from imagehaul.store.files import OwnFiles

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Fence:
    """The lease that a run's batches work under: who holds it, and for how many seconds from each renewal."""

    token: str
    seconds: float


class FenceView:
    """Looks at the lease of `fence` until it is closed.

    `on_end` is called once, in the thread that looks: the lease is another's, the run that leads has let it go or
    stops, or it ran out unrenewed or unread.
    """

    def __init__(
        self, client: S3Client, layout: Layout, fence: Fence, on_end: Callable[[], None], every: float = LOOK_SECONDS
    ) -> None:
        self._lock = LockObject(OwnFiles(client, ObjectOptions()), layout, Capabilities(), fence.seconds)
        self._fence = fence
        self._on_end = on_end
        self._every = every
        self._runs_out = now() + fence.seconds
        self._etag = ""
        self._ended = False
        self._closed = threading.Event()
        self._look()
        self._thread = threading.Thread(target=self._keep_looking, name="fence", daemon=True)
        self._thread.start()

    @property
    def holds(self) -> bool:
        """Whether this worker may begin to send, by its own clock alone: no store is asked.

        False too as long as the lock could not be read, and where it cannot be for as long as the lease lasts.
        """
        return bool(self._etag) and not self._ended and now() < self._runs_out

    def close(self) -> None:
        self._closed.set()

    def _keep_looking(self) -> None:
        while not self._closed.wait(self._every):
            self._look()
            if self._ended or now() >= self._runs_out:
                self._ended = True
                self._on_end()
                return

    def _look(self) -> None:
        asked = now()
        try:
            found = self._lock.read()
        except StoreError:
            return  # The last look counts until the lease runs out.
        holder = found.holder if found else None
        if not found or not holder or holder.token != self._fence.token or holder.released or holder.stopping:
            self._ended = True
            return
        if found.etag != self._etag:  # Each renewal changes it; the same one again is no new word.
            self._etag, self._runs_out = found.etag, asked + self._fence.seconds - found.age


def now() -> float:
    """Seconds that only go forward. Those in which the machine sleeps count, since the lease runs out in them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
