"""Sources that one reader reads in order: what a batch needs is laid out before its turn, and removed behind it.

The batches' threads come in any order. Each waits for the one before it to be laid out, so that no more batches lie
on the disk than are at work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from imagehaul.delivery.jobs import stopped_run
from imagehaul.errors import SettingsError
from imagehaul.ledger.planned import planned_images
from imagehaul.sources.source import Source, Staging


def refuse_elsewhere(source: Source, task_runner: str) -> None:
    """What one reader lays out lies on this machine. Raises `SettingsError` where batches run on others."""
    if task_runner != "processes" and isinstance(source, Staging) and source.is_sequential:
        raise SettingsError(
            f"TASK_RUNNER={task_runner} cannot go with an archive that is compressed as a whole: one reader on this "
            "machine has to unpack it. Take TASK_RUNNER=processes, or pack it as .zip or .tar."
        )


class Stager:
    """`stopped`: whether nothing more is to be sent."""

    def __init__(self, source: Source, stopped: Callable[[], bool]) -> None:
        self._source: Staging | None = source if isinstance(source, Staging) and source.is_sequential else None
        self._stopped = stopped
        self._next = 1
        self._turn = threading.Condition()

    @contextmanager
    def staged(self, number: int, planned: bytes) -> Iterator[None]:
        """`number`: the batch's, from 1. `planned`: its images. Raises what reading the source raises."""
        if self._source is None:
            yield
            return
        with self._turn:
            while self._next != number:
                if self._stopped():
                    raise stopped_run()
                self._turn.wait(0.5)
            files = self._source.stage(planned_images(planned))
            self._next += 1
            self._turn.notify_all()
        try:
            yield
        finally:
            for file in files:
                file.unlink(missing_ok=True)
