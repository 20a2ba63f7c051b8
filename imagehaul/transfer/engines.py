"""Sending objects into the store: the choice of the engine, and what all engines have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from imagehaul.cores import usable_cores
from imagehaul.records import Copy, EngineName, ObjectOptions, SendResult, Upload
from imagehaul.store.endpoint import Store
from imagehaul.store.obstore_options import NOTHING_FOUND_OUT, ObstoreOptions
from imagehaul.store.retry import PATIENCE, Patience, Retry, StallMonitor, within_file_limit
from imagehaul.transfer.boto3_engine import Boto3Sender
from imagehaul.transfer.copier import Copier
from imagehaul.transfer.obstore_engine import ObstoreSender, ObstoreUnusableError, find_obstore
from imagehaul.transfer.s5cmd_engine import S5cmdSender, remove_stale_links
from imagehaul.transfer.s5cmd_program import S5cmdUnusableError, find_s5cmd

_BATCHES_AT_A_TIME = 2
"""While the last objects of one are on their way, the next one's keep the line busy."""


@dataclass(frozen=True)
class Engine:
    """A way into one bucket, that the threads of a run share. `reason`: one sentence on why it is this one.

    `fast` goes first where there is one, and boto3 sends what it does not answer for.
    """

    name: EngineName
    reason: str
    boto3: Boto3Sender
    copier: Copier
    retry: Retry
    fast: S5cmdSender | ObstoreSender | None = None
    _slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_BATCHES_AT_A_TIME))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends what is under way: it raises StoreError with NOT_ATTEMPTED, within a second."""
        self.retry.closed.set()
        if isinstance(self.fast, ObstoreSender):
            self.fast.close()

    def send(self, uploads: Sequence[Upload], scratch: Path) -> list[SendResult]:
        """One answer for each upload, in their order. `scratch`: a folder for what the fast engine needs.

        Raises StoreError for what stops the whole run, as soon as it is known.
        """

        def attempt(left: list[Upload]) -> list[SendResult]:
            with self._slot():
                said = self.fast.send(left, scratch, self._monitor()) if self.fast else {}
                if rest := [upload for upload in left if upload.key not in said]:
                    said.update((sent.key, sent) for sent in self.boto3.send(rest, self._monitor()))
            return [said[upload.key] for upload in left]

        return self.retry.run(uploads, attempt)

    def copy(self, copies: Sequence[Copy]) -> list[SendResult]:
        """The same for objects that the store copies by itself."""

        def attempt(left: list[Copy]) -> list[SendResult]:
            with self._slot():
                return self.copier.copy(left, self._monitor())

        return self.retry.run(copies, attempt)

    def _monitor(self) -> StallMonitor:
        return self.retry.monitor(self.boto3.threads)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        while not self._slots.acquire(timeout=0.5):
            self.retry.check_open()
        try:
            yield
        finally:
            self._slots.release()


def choose_engine(
    store: Store,
    bucket: str,
    engine: EngineName,
    workers: int,
    options: ObjectOptions,
    patience: Patience = PATIENCE,
    may_send: Callable[[], bool] = lambda: True,
    cores: int = 0,
    obstore: ObstoreOptions = NOTHING_FOUND_OUT,
) -> Engine:
    """The engine that is asked for where a working one is found and can reach the store, else boto3.

    `workers`: objects that are on their way at the same time, over all batches. `may_send`: asked before each object.
    `cores`: of the processor, that this process may use; 0 = all that there are for it.
    """
    at_a_time = within_file_limit(max(1, workers // _BATCHES_AT_A_TIME))
    boto3 = Boto3Sender(store, bucket, options, at_a_time)
    copier = Copier(store, bucket, options, at_a_time)
    retry = Retry(store, bucket, patience, may_send=may_send)
    fast: S5cmdSender | ObstoreSender
    processors = max(1, (cores or usable_cores()) // _BATCHES_AT_A_TIME)
    try:
        if engine == "boto3":
            return Engine("boto3", "boto3 sends: the settings say so.", boto3, copier, retry)
        if engine == "obstore":
            library = find_obstore()
            fast = ObstoreSender(library, store, bucket, options, at_a_time, patience.retries, processors, obstore)
            fast.check()
            return Engine(engine, f"obstore {library.version} sends.", boto3, copier, retry, fast)
        if obstacle := store.s5cmd_obstacle():
            raise S5cmdUnusableError(obstacle)
        found = find_s5cmd()
    except (S5cmdUnusableError, ObstoreUnusableError) as error:
        return Engine("boto3", f"boto3 sends: {error}.", boto3, copier, retry)
    remove_stale_links()
    fast = S5cmdSender(found.binary, store, bucket, options, at_a_time, patience.retries, processors)
    return Engine(engine, f"s5cmd {found.version} sends: {found.binary}.", boto3, copier, retry, fast)
