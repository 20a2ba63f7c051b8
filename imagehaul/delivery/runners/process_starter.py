"""Starts processes for batches, also while the source is still listed, so that no batch waits for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from imagehaul.delivery.runners.process_handle import WorkerProcess
from imagehaul.delivery.runners.shared_lease import SharedLease
from imagehaul.errors import HaulError

Item = TypeVar("Item")
_IMAGES_APART = 25
"""A batch has at least as many images."""


class ProcessStarter:
    """`ahead`: processes that may start before there is a plan, the first of them behind `few` images.

    `holds_until`: when the run's lease ends, as `fence.now` counts; it is asked again and again.
    """

    def __init__(self, holds_until: Callable[[], float], ahead: int = 0, few: int = 0) -> None:
        self.holds_until = holds_until
        self._ahead = ahead
        self._few = few
        self._lease: SharedLease | None = None
        self._spare: list[WorkerProcess] = []
        self._taking = threading.Lock()

    def watching(self, images: Iterable[Item]) -> Iterator[Item]:
        """The same images; as they come, processes start."""
        following = self._few + 1
        for number, image in enumerate(images, 1):
            if number == following and len(self._spare) < self._ahead:
                following += _IMAGES_APART
                self._start_spare()
            yield image

    def start(self) -> WorkerProcess:
        """One that started ahead, or a new one. Raises HaulError."""
        with self._taking:
            while self._spare:
                process = self._spare.pop()
                if process.is_alive:
                    return process
                process.end()
            try:
                return self._new()
            except OSError as error:
                raise HaulError(f"No process for batches can be started: {error.strerror}.") from error

    def keep(self, most: int) -> None:
        """Ends those that started ahead, and are more than are needed."""
        with self._taking:
            surplus, self._spare = self._spare[most:], self._spare[:most]
        for process in surplus:
            process.kill()

    def close(self) -> None:
        """Behind the last process that it gave: they read the lease."""
        self.keep(0)
        if self._lease:
            self._lease.close()

    def _start_spare(self) -> None:
        try:
            self._spare.append(self._new())
        except OSError:
            # The batches say it where there is no process for them either.
            self._ahead = 0

    def _new(self) -> WorkerProcess:
        if self._lease is None:
            self._lease = SharedLease(self.holds_until)
        return WorkerProcess(self._lease.descriptor)
