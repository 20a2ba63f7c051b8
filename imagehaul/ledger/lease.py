"""One run at a time for each data set: a lease that lies in the store, and so holds between machines.

`.imagehaul/lock.json` names the run that works. It is taken and renewed by conditional PUT. Where the store has no
condition that works, the lock is advisory: it is written after a look, and read back after a pause. A refused
condition is never taken for another run's doing before that run has been seen. The lock is let go by writing that
into it: a deletion could hit the lease of the next run, and some keys may not delete.

Clocks of different machines are never compared. How old a lease is, the store says, by the difference to an
object that is written now; from then on our own clock counts, which only goes forward.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from imagehaul.errors import HeldError, LockedError, StoreError
from imagehaul.layout import Layout
from imagehaul.ledger.fence import now
from imagehaul.ledger.lock_object import Found, Holder, LockObject
from imagehaul.records import ObjectOptions, WhenLocked
from imagehaul.store.conditional_writes import Capabilities
from imagehaul.store.endpoint import Store
from imagehaul.store.files import OwnFiles

SETTLE_SECONDS = 3.0
"""Without conditions: how long one run may take between its look at the lock and its write, for two not to meet."""
RELEASE_SECONDS = 15.0
"""How long the end of a run waits for a renewal that is under way."""

_LOG = logging.getLogger(__name__)


class Taken(NamedTuple):
    """The lock as it was taken. `asked`: the moment before it was written, from which others may count; where no
    condition works, before it was read back."""

    etag: str
    advisory: bool
    asked: float


class Lease:
    """The hold on a data set, renewed by a thread of its own until the run ends.

    `on_lost` is called in that thread as soon as it knows that another run has taken the data set: a run that was
    asleep must not go on sending over what the other one sent.
    """

    on_lost: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, mark: LockObject, holder: Holder, taken: Taken) -> None:
        self._mark = mark
        self._holder = holder
        self._etag, self._advisory, self._confirmed = taken
        self._successor: Holder | None = None
        self._left = False
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    @property
    def token(self) -> str:
        """Who holds it, in the lock object."""
        return self._holder.token

    @property
    def seconds(self) -> float:
        """How long it lasts from each renewal."""
        return self._holder.seconds

    @property
    def holds(self) -> bool:
        """Whether nobody else can have the data set yet, by this machine's clock alone: no store is asked."""
        return now() < self.holds_until

    @property
    def holds_until(self) -> float:
        """When that ends if nobody renews it, as `fence.now` counts; 0 where another run has taken it."""
        return 0.0 if self.lost else self._confirmed + self._holder.seconds

    @property
    def lost(self) -> bool:
        """Whether another run has taken the data set, as far as the last renewal knows."""
        return self._successor is not None

    @property
    def advisory(self) -> bool:
        """Whether the store refuses nobody who writes over the lock: runs keep apart by looking, then writing."""
        return self._advisory

    def check(self) -> None:
        """Raises LockedError where another run has taken the data set: nothing more may be sent or published.

        Asks the store only where half of the lease has passed unrenewed; raises StoreError where it has run out and
        the store does not answer.
        """
        if now() - self._confirmed > self._holder.seconds / 2:
            try:
                self._renew()
            except StoreError:
                # Until it has run out, nobody else can have it.
                if now() - self._confirmed > self._holder.seconds:
                    raise
        if self._successor:
            raise LockedError(
                f"The data set {self._mark.dataset!r} was taken over by {self._successor}, since this run did not "
                "renew its lease in time (was the machine asleep, or the store out of reach?).\n"
                "This run stops and publishes nothing. Run again: only what is missing is sent."
            )

    def stop_workers(self) -> None:
        """Tells workers elsewhere, which read the lock, to send nothing more. Raises StoreError."""
        with self._writing:
            if not self.lost:
                self._holder = replace(self._holder, renewals=self._holder.renewals + 1, stopping=True)
                self._write(self._holder)

    def leave(self) -> None:
        """Lets it run out by itself at the end, since a worker that nobody hears may still send."""
        self._left = True

    def release(self) -> None:
        """Lets go, so that the next run need not wait. Raises StoreError."""
        self._ended.set()
        self._thread.join(RELEASE_SECONDS)
        if not self._writing.acquire(timeout=RELEASE_SECONDS):
            raise StoreError("A renewal still waits for the store's answer.")
        try:
            if not self.lost and not self._left and not self._removed():
                self._write(replace(self._holder, released=True))
        finally:
            self._writing.release()

    def _keep(self) -> None:
        # The answer to the first question may have taken long.
        pause = self._confirmed + self._holder.seconds / 3 - now()
        while not self._ended.wait(pause) and not self.lost:
            try:
                self._renew()
                pause = self._holder.seconds / 3
            except StoreError as error:
                _LOG.info("The lease %s was not renewed: %s", self._mark.uri, error)
                pause = self._holder.seconds / 20

    def _renew(self) -> None:
        with self._writing:
            if not self.lost and not self._ended.is_set():
                asked = now()
                self._holder = replace(self._holder, renewals=self._holder.renewals + 1)
                if self._write(self._holder):
                    self._confirmed = asked
                else:
                    self.on_lost()

    def _write(self, holder: Holder) -> bool:
        """False: not ours any more. A refusal is looked into, since some stores refuse a condition that is met."""
        expected = self._etag
        while not (etag := self._mark.write_over(expected, holder)):
            found = self._mark.read()
            if found and found.holder.token != holder.token:
                self._successor = found.holder
                return False
            seen = found.etag if found else ""
            if seen == expected:
                self._advisory = True
                etag = self._mark.overwrite(holder)
                break
            expected = seen  # An earlier answer was lost on its way, or somebody removed the lock.
        self._etag = etag
        return True

    def _removed(self) -> bool:
        """Where only new keys are refused to two, a lock that is gone is what the next run can take for itself."""
        if self._mark.capabilities.exclusive or not self._mark.capabilities.if_none_match:
            return False
        found = self._mark.read()
        return found is not None and found.holder.token == self._holder.token and self._mark.remove()


@contextmanager
def lease(
    store: Store,
    options: ObjectOptions,
    layout: Layout,
    capabilities: Capabilities,
    run: str,
    when_locked: WhenLocked,
    say: Callable[[str], None],
    seconds: float = 60.0,
    poll: float = 5.0,
    work_dies_with_it: bool = True,
) -> Iterator[Lease]:
    """Holds the data set for `run` until the block ends. `seconds`: how long a run that died holds it at most.

    A run that died on this very machine holds nothing, where its work dies with it. `poll`: seconds between two looks
    while it waits.
    Raises HeldError where another run holds it and `when_locked` is "refuse"; StoreError.
    """
    patient = LockObject(OwnFiles(store.patient_client(), options), layout, capabilities, seconds)
    holder = Holder.of_this_process(run, seconds, work_dies_with_it)
    taken = _acquire(patient, holder, when_locked, say, poll)
    # A renewal that waits for the store holds up the end of the run: it has attempts of its own.
    mark = LockObject(OwnFiles(store.client(), options), layout, capabilities, seconds)
    held = Lease(mark, holder, taken)
    try:
        yield held
    finally:
        try:
            held.release()
        except StoreError as error:
            say(f"The lock of {layout.dataset!r} could not be let go; it runs out within {seconds:g} s. {error}")


def _acquire(
    mark: LockObject, holder: Holder, when_locked: WhenLocked, say: Callable[[str], None], poll: float
) -> Taken:
    told = ""
    watch = _Watch(mark)
    while True:
        found = mark.read()
        end = watch.end_of(found) if found else ""
        if found and not found.holder.released and not end:
            held_by = f"The data set {mark.dataset!r} is held by {found.holder}, since {found.holder.since}"
            if when_locked == "refuse":
                raise HeldError(f"{held_by}.\nRun again when that one has ended, or use --when-locked wait.")
            if found.holder.token != told:
                told = found.holder.token
                say(f"{held_by}: waiting for its end.")
            time.sleep(max(0.05, min(poll, watch.runs_out - now())))
        elif held := _claim(mark, holder, found, looks=2 if end else 1):
            if found and end:
                say(f"The data set {mark.dataset!r} was held by {found.holder}, which has died: {end}. Taken over.")
            return held


class _Watch:
    """Tells whether the holder of a lease has died."""

    def __init__(self, mark: LockObject) -> None:
        self._mark = mark
        self._seen = ""
        self.runs_out = 0.0

    def end_of(self, found: Found) -> str:
        """How the holder ended without letting go; "" where it lives, or has let go."""
        if found.holder.released:
            return ""
        if found.holder.is_dead:
            return "its process is no longer there"
        if found.etag != self._seen:
            # Only the first look needs the store's clock: a change that we see ourselves is new.
            age = 0.0 if self._seen else self._mark.age(found)
            leases = 1 if self._mark.capabilities.exclusive else 2
            self._seen, self.runs_out = found.etag, now() + leases * found.holder.seconds - age
        return "" if now() < self.runs_out else f"it did not renew its lease of {found.holder.seconds:g} s"


def _claim(mark: LockObject, holder: Holder, found: Found | None, looks: int) -> Taken | None:
    """Takes the lock that is free, or whose holder died. None where another run was faster.

    `looks`: how often it is read back where the store refuses nobody.
    """
    asked = now()
    if etag := mark.write_over(found.etag if found else "", holder):
        return Taken(etag, not mark.capabilities.exclusive, asked)
    seen = mark.read()
    if seen and seen.holder.token == holder.token:
        # The first answer was lost on its way; the client's own second attempt met our own lock.
        return Taken(seen.etag, not mark.capabilities.exclusive, asked)
    if seen != found:
        return None
    _LOG.info("The store has no condition that holds for the lock %s: it is written and read back.", mark.uri)
    mark.overwrite(holder)
    for _ in range(looks):
        time.sleep(SETTLE_SECONDS)
        # Others wait for two leases here, from the write on: this one may count from the last look.
        asked = now()
        seen = mark.read()
        if not seen or seen.holder.token != holder.token:
            return None
    return Taken(seen.etag if seen else "", True, asked)
