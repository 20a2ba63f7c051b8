"""Where batches run: what every place offers, and the choice of it. A place is a file, and a line in `open_runner`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from imagehaul.delivery.jobs import BatchContext, BatchJob, BatchResult
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store

ATTEMPTS = 3
"""A worker that dies costs its batch another try elsewhere; then its images are `failed`, and the run goes on."""


class WorkerLostError(Exception):
    """The process that worked on a batch has gone, and nobody knows how far it was. `words`: its last ones."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


class Runner(Protocol):
    """Runs batches somewhere. `slots`: how many at the same time. `name`: the runner of the JSON line."""

    name: str
    slots: int

    def run(self, job: BatchJob) -> BatchResult:
        """Blocks until the batch is done; threads call it side by side.

        Raises HaulError: the batch cannot be worked on, or was stopped; WorkerLostError after the last attempt.
        """

    def stop(self) -> None:
        """Nothing more is sent, and batches at work end soon with what they have."""

    def close(self) -> None:
        """Ends all that is at work at once, and gives back what it took."""


OpenRunner = Callable[[Settings, BatchContext, Store, Callable[[], bool], int], Runner]
"""Takes settings, what all batches share, the store, whether this run may send, and the number of batches."""
