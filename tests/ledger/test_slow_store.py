"""A lease counts from the question to the store, however late the answer comes: others see the lock before that."""

from __future__ import annotations

import time
from typing import Any

import pytest

from imagehaul.layout import Layout
from imagehaul.ledger import lease as lock
from imagehaul.ledger.fence import now
from imagehaul.ledger.lock_object import LockObject
from imagehaul.records import ObjectOptions
from imagehaul.store.endpoint import Store
from imagehaul.store.probe import probe_writing

SECONDS, SLOW = 3.0, 1.5


def test_a_lease_counts_from_the_question(store: Store, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, options = Layout(bucket, "", "cats"), ObjectOptions()
    capabilities = probe_writing(store, bucket, layout.root, options)
    plain, acquire = LockObject.write_over, lock._acquire
    written: list[float] = []
    taken: list[lock.Taken] = []

    def slowly(self: LockObject, *more: Any) -> str:
        etag: str = plain(self, *more)
        if not written:
            written.append(now())
            time.sleep(SLOW)
        return etag

    def noted(*more: Any) -> lock.Taken:
        taken.append(acquire(*more))
        return taken[0]

    monkeypatch.setattr(lock, "_acquire", noted)
    monkeypatch.setattr(LockObject, "write_over", slowly)
    with lock.lease(store, options, layout, capabilities, "a run", "refuse", print, SECONDS) as held:
        assert taken[0].asked < written[0]
        deadline = now() + 1
        while held.holds_until < written[0] + SECONDS and now() < deadline:
            time.sleep(0.01)
        assert held.holds_until >= written[0] + SECONDS, "It is renewed at once, since a third of it has passed."
