"""How long a transfer goes on trying: attempts under a stall monitor, and a pause between them.

An attempt ends by itself when the store falls silent or refuses one connection after another. What is left
without an answer, or was told to come again, is tried again in the next round.
"""

from __future__ import annotations

import random
import resource
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from imagehaul.errors import Code, StoreError, Trait
from imagehaul.records import SendResult
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import Verdict, classify, of_upload
from imagehaul.store.explanations import Verb, explain, words_of

_PROGRESS_BYTES = 1024 * 1024
MOST_DENIED = 1_000
"""Objects in a row, over all batches: a policy that denies a prefix costs the rest of a run nothing, and keys that
are denied everything do not ask ten million times."""


class Keyed(Protocol):
    """What is transferred: answers name it by its key."""

    @property
    def key(self) -> str: ...


Item = TypeVar("Item", bound=Keyed)


@dataclass(frozen=True, slots=True)
class Patience:
    """`stall_seconds`: without an answer, and with less than 1 MiB moved, an attempt has stalled.

    `pauses`: the longest wait in seconds before the second attempt and each one after it. `retries`: s5cmd's own
    for one object, within seconds; its default of ten can take minutes. `probe_seconds`: for a word from a store
    that answered nothing.
    """

    stall_seconds: float = 60.0
    pauses: tuple[float, ...] = (4.0, 16.0, 64.0)
    retries: int = 4
    probe_seconds: float = 30.0


PATIENCE = Patience()


class Denials:
    """How many objects in a row these keys were denied, over all batches of a run."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._counting = threading.Lock()

    def heard(self, sent: SendResult) -> None:
        with self._counting:
            if sent.outcome == "sent":
                self._in_a_row = 0
            elif sent.code == Code.ACCESS_DENIED:
                self._in_a_row += 1

    @property
    def too_many(self) -> bool:
        return self._in_a_row >= MOST_DENIED


class StallMonitor:
    """Says when an attempt is over: stopped from outside, stalled, or refused time after time.

    `may_send`: whether the data set is still ours. A run that was asleep finds that out by its own clock, before it
    sends one more object over those of the run that took its place.
    """

    def __init__(
        self,
        closed: threading.Event,
        stall_seconds: float,
        refusals: int,
        denials: Denials | None = None,
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        self._closed = closed
        self._denials = denials or Denials()
        self._may_send = may_send
        self._stall_seconds = stall_seconds
        self._refusals_left = self._refusals = refusals
        self._moved = 0
        self._alive_at = time.monotonic()
        self._ended = False

    @property
    def over(self) -> bool:
        return (
            self._ended
            or self._closed.is_set()
            or self._denials.too_many
            or not self._may_send()
            or self._refusals_left <= 0
            or time.monotonic() - self._alive_at > self._stall_seconds
        )

    def begin(self) -> None:
        """The store is waited for from now on."""
        self._alive_at = time.monotonic()

    def end(self) -> None:
        self._ended = True

    def heard(self, sent: SendResult) -> None:
        """An answer came. It is a refusal where the store could not be reached for it."""
        self._refusals_left = self._refusals_left - 1 if sent.code == Code.STORE_UNAVAILABLE else self._refusals
        self._denials.heard(sent)
        self._alive_at = time.monotonic()

    def moved(self, size: int) -> None:
        """So many bytes went to or came from the store. A drip of them is no progress."""
        self._moved += size
        if self._moved >= _PROGRESS_BYTES:
            self._moved, self._alive_at = 0, time.monotonic()


def in_threads(
    items: Sequence[Item], work: Callable[[Item], SendResult], threads: int, monitor: StallMonitor
) -> list[SendResult]:
    """One answer for each item; `unknown` where the monitor ended before it came.

    Raises what `work` raises, as soon as it does. A thread that still waits for a silent store is left behind:
    it ends with its object, and keeps nothing from ending.
    """
    todo = deque(items)
    answers: dict[str, SendResult] = {}
    faults: list[BaseException] = []

    def work_through() -> None:
        while todo and not monitor.over:
            try:
                item = todo.popleft()
            except IndexError:
                return
            try:
                answers[item.key] = sent = work(item)
            except BaseException as fault:
                faults.append(fault)
                monitor.end()
                return
            monitor.heard(sent)

    workers = [threading.Thread(target=work_through, daemon=True) for _ in range(min(threads, len(items)))]
    for thread in workers:
        thread.start()
    for thread in workers:
        while thread.is_alive() and not monitor.over:
            thread.join(0.1)
    monitor.end()
    if faults:
        raise faults[0]
    return [answers.get(item.key) or silence(item.key) for item in items]


@dataclass(frozen=True)
class Retry:
    """Tries again what may succeed later. `closed` ends it at once; while it may not send, it waits."""

    store: Store
    bucket: str
    patience: Patience = PATIENCE
    closed: threading.Event = field(default_factory=threading.Event)
    denials: Denials = field(default_factory=Denials)
    may_send: Callable[[], bool] = lambda: True

    def run(self, items: Sequence[Item], attempt: Callable[[list[Item]], list[SendResult]]) -> list[SendResult]:
        """One answer for each item, in the order of `items`.

        Raises StoreError: what stops the whole run, or the store has gone and did not come back in time.
        """
        answers: dict[str, SendResult] = {}
        left = list(items)
        gone: StoreError | None = None
        for pause in (0.0, *self.patience.pauses):
            if not left:
                break
            # Half of it at random, so that batches do not come back together; the other half is what an
            # outage of half a minute needs.
            self.closed.wait(pause * random.uniform(0.5, 1.0))
            self.check_open()
            gone = None
            if answers and all(answers[item.key].code == Code.STORE_UNAVAILABLE for item in left):
                gone = self._outage(left[0].key)
            if not gone:
                answers.update((sent.key, sent) for sent in self._attempt(left, attempt))
                self._check_denials()
                left = [item for item in left if _worth_another(answers[item.key])]
        self.check_open()
        if gone:
            raise gone
        return [answers[item.key] for item in items]

    def check_open(self) -> None:
        if self.closed.is_set():
            raise StoreError("The run was stopped.", Code.NOT_ATTEMPTED)

    def _check_denials(self) -> None:
        if self.denials.too_many:
            raise StoreError(
                f"The store at {self.store.url or 'AWS'} denied these keys {MOST_DENIED:,} objects in a row.\n"
                "They need s3:PutObject there; or the bucket is another account's, or its policy denies it.",
                Code.ACCESS_DENIED,
            )

    def monitor(self, threads: int) -> StallMonitor:
        return StallMonitor(self.closed, self.patience.stall_seconds, max(8, 2 * threads), self.denials, self.may_send)

    def _attempt(self, left: list[Item], attempt: Callable[[list[Item]], list[SendResult]]) -> list[SendResult]:
        try:
            return attempt(left)
        except StoreError as error:
            if error.code != Code.CREDENTIALS_EXPIRED:
                raise
            self.store.renew()
            return attempt(left)

    def _outage(self, key: str) -> StoreError | None:
        """Why the store does not answer even a small request; None where it does, whatever it says."""
        found: list[StoreError | None] = []

        def ask() -> None:
            try:
                self.store.check(self.bucket, key[: key.rfind("/") + 1])
            except StoreError as error:
                found.append(error if error.code == Code.STORE_UNAVAILABLE else None)
            else:
                found.append(None)

        # A store that drips its answer never runs into a timeout.
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(self.patience.probe_seconds)
        slow = StoreError(f"The store at {self.store.url or 'AWS'} does not answer a listing in time.")
        return found[0] if found else slow


def failure(key: str, error: Exception, verb: Verb, what: str, store: Store) -> SendResult:
    """The answer for one object whose request failed. Raises StoreError where no other object would fare better.

    Such as "write", "s3://bucket/key".
    """
    verdict = of_upload(classify(error), key) if verb == "write" else classify(error)
    if verdict.action == "stop" and not verdict.may_be_of_one_object:
        raise explain(error, verb, what, store.url) from error
    return answer(key, verdict, str(error))


def answer(key: str, verdict: Verdict, words: str) -> SendResult:
    """A verdict as the answer for one object. `words`: the store's or the system's own."""
    outcome = verdict.code.status if verdict.action == "reject" else "failed"
    return SendResult(key, outcome, verdict.code, words_of(verdict, words))


def silence(key: str) -> SendResult:
    return SendResult(key, "unknown", Code.STORE_UNAVAILABLE, "The store did not answer for this object.")


def within_file_limit(workers: int) -> int:
    """So many of `workers` as this process may have files and connections open for."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return workers if limit == resource.RLIM_INFINITY else max(1, min(workers, (limit - 64) // 4))


def _worth_another(sent: SendResult) -> bool:
    if sent.outcome == "failed":
        return Trait.TRANSIENT in Code[sent.code].traits
    return sent.outcome == "unknown"
