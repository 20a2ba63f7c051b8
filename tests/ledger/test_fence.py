"""The lease as a worker sees it, in the lock object of the real store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from imagehaul.layout import Layout
from imagehaul.ledger.fence import Fence, FenceView
from imagehaul.ledger.lock_object import Holder, LockObject
from imagehaul.records import ObjectOptions
from imagehaul.store.conditional_writes import Capabilities
from imagehaul.store.endpoint import Store
from imagehaul.store.files import OwnFiles

pytestmark = pytest.mark.every_store

LOOK = 0.1


@pytest.fixture
def layout(bucket: str) -> Layout:
    return Layout(bucket, "", "set")


@pytest.fixture
def lock(store: Store, layout: Layout) -> LockObject:
    return LockObject(OwnFiles(store.client(), ObjectOptions()), layout, Capabilities(), 60)


@pytest.fixture
def ours(lock: LockObject) -> Holder:
    holder = Holder.of_this_process("20261122T090000Z-000000", 60.0)
    lock.overwrite(holder)
    return holder


@pytest.fixture
def view(store: Store, layout: Layout, ours: Holder) -> Callable[[float], tuple[FenceView, threading.Event]]:
    def make(seconds: float) -> tuple[FenceView, threading.Event]:
        ended = threading.Event()
        fence = Fence(ours.token, seconds)
        return FenceView(store.client(), layout, fence, ended.set, every=LOOK), ended

    return make


def test_it_holds_while_the_lock_names_the_run(view: Callable[[float], tuple[FenceView, threading.Event]]) -> None:
    seen, ended = view(60.0)
    assert seen.holds
    assert not ended.wait(5 * LOOK)
    seen.close()


@pytest.mark.parametrize("what", ["another run", "released", "stopping"])
def test_it_ends_where_the_lock_says_so(
    view: Callable[[float], tuple[FenceView, threading.Event]], lock: LockObject, ours: Holder, what: str
) -> None:
    seen, ended = view(60.0)
    changed = {
        "another run": replace(ours, token="another"),
        "released": replace(ours, released=True),
        "stopping": replace(ours, stopping=True),
    }
    lock.overwrite(changed[what])
    assert ended.wait(10)
    assert not seen.holds


def test_it_ends_where_nobody_renews_the_lease(view: Callable[[float], tuple[FenceView, threading.Event]]) -> None:
    seen, ended = view(2.0)
    assert ended.wait(10)
    assert not seen.holds


def test_a_renewal_is_seen(
    view: Callable[[float], tuple[FenceView, threading.Event]], lock: LockObject, ours: Holder
) -> None:
    seen, ended = view(4.0)
    for number in range(1, 7):
        time.sleep(1)
        lock.overwrite(replace(ours, renewals=number))
    assert seen.holds
    assert not ended.is_set()
    seen.close()


def test_without_a_word_from_the_lock_nothing_may_be_sent(store: Store, layout: Layout) -> None:
    ended = threading.Event()
    seen = FenceView(store.client(), replace(layout, bucket="no-such-bucket"), Fence("t", 60.0), ended.set, every=LOOK)
    assert not seen.holds
    seen.close()
