"""One run at a time for each data set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from imagehaul.errors import LockedError, StoreError
from imagehaul.layout import Layout
from imagehaul.ledger import lease as lock
from imagehaul.records import ObjectOptions, WhenLocked
from imagehaul.store.conditional_writes import Capabilities
from imagehaul.store.endpoint import Store
from imagehaul.store.probe import probe_writing
from tests.support.conditions import AS_IT_IS_AND_OTHERWISE, EXCLUSIVE, MANNERS, Manner, fresh_store, store_in_manner

pytestmark = pytest.mark.every_store

RUN, OTHER = "20261122T101500Z-aaaaaa", "20261122T101600Z-bbbbbb"
SECONDS = 2.0

HOLD_FOREVER = """
import sys, time
from imagehaul.store.credentials import AccessKey
from imagehaul.layout import Layout
from imagehaul.ledger.lease import lease
from imagehaul.records import ObjectOptions
from imagehaul.store.endpoint import Store
from imagehaul.store.probe import probe_writing
url, access, secret, bucket, run = sys.argv[1:]
store = Store(url=url, credentials=AccessKey(access, secret))
layout, options = Layout(bucket, "", "cats"), ObjectOptions()
with lease(store, options, layout, probe_writing(store, bucket, layout.root, options), run, "wait", print):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def layout(bucket: str) -> Layout:
    return Layout(bucket, "", "cats")


@pytest.fixture
def said() -> list[str]:
    return []


def lease(
    store: Store,
    layout: Layout,
    run: str,
    when_locked: WhenLocked,
    say: Callable[[str], None],
    *more: float,
    **options: float,
) -> AbstractContextManager[lock.Lease]:
    """As a run has it: what the store can do is found out first."""
    capabilities = probe_writing(store, layout.bucket, layout.root, ObjectOptions())
    return lock.lease(store, ObjectOptions(), layout, capabilities, run, when_locked, say, *more, **options)


def read(store: Store, layout: Layout) -> dict[str, Any]:
    """What lies in the store, by a plain client."""
    body = store.client().get_object(Bucket=layout.bucket, Key="cats/.imagehaul/lock.json")["Body"].read()
    said: dict[str, Any] = json.loads(body)
    return said


def write(store: Store, layout: Layout, body: bytes) -> None:
    store.client().put_object(Bucket=layout.bucket, Key="cats/.imagehaul/lock.json", Body=body)


def held_elsewhere(token: str = "theirs", seconds: float = SECONDS) -> bytes:
    """The lock as a run on another machine wrote it."""
    holder = {"run": OTHER, "host": "there", "pid": 7, "since": "2026-11-22T10:16:00+00:00", "machine": "another"}
    return json.dumps({**holder, "born": "1", "token": token, "seconds": seconds}).encode()


@contextmanager
def held_by_a_process(store: Store, layout: Layout) -> Iterator[subprocess.Popen[str]]:
    keys = store.keys()
    arguments = [store.url, keys.access_key, keys.secret_key, layout.bucket, OTHER]
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_FOREVER, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_the_lock_names_the_run_while_it_works_and_is_free_afterwards(
    store: Store, layout: Layout, said: list[str]
) -> None:
    with lease(store, layout, RUN, "refuse", said.append) as held:
        held.check()
        assert read(store, layout)["run"] == RUN
        assert not read(store, layout)["released"]
    assert read(store, layout)["released"]
    with lease(store, layout, OTHER, "refuse", said.append):
        assert read(store, layout)["run"] == OTHER
    assert said == []


def test_a_second_run_in_another_process_is_refused_with_the_name_of_the_first(store: Store, layout: Layout) -> None:
    with (
        held_by_a_process(store, layout) as process,
        pytest.raises(LockedError) as refused,
        lease(store, layout, RUN, "refuse", print),
    ):
        pytest.fail("both hold it")
    assert f"run {OTHER}" in str(refused.value)
    assert f"(process {process.pid})" in str(refused.value)


def test_another_data_set_is_not_held(store: Store, layout: Layout) -> None:
    other = Layout(layout.bucket, "", "cats2")
    with (
        lease(store, layout, RUN, "refuse", print),
        lease(store, other, OTHER, "refuse", print) as held,
    ):
        held.check()


def test_a_run_that_waits_says_once_for_whom_and_goes_on_when_it_has_ended(
    store: Store, layout: Layout, said: list[str]
) -> None:
    order: list[str] = []

    def second() -> None:
        with lease(store, layout, RUN, "wait", said.append, SECONDS, poll=0.1):
            order.append("second")

    with lease(store, layout, OTHER, "refuse", print, SECONDS):
        waiter = threading.Thread(target=second)
        waiter.start()
        # Longer than the lease: it is renewed, and the waiter sees that.
        time.sleep(SECONDS * 2)
        order.append("first")
    waiter.join()
    assert order == ["first", "second"]
    assert len(said) == 1
    assert f"held by run {OTHER}" in said[0]


def test_a_run_that_was_killed_on_this_machine_holds_nothing(store: Store, layout: Layout, said: list[str]) -> None:
    with held_by_a_process(store, layout) as process:
        process.kill()
        # A zombie: dead, and its parent has not asked for it.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with lease(store, layout, RUN, "refuse", said.append) as held:
            held.check()
    assert len(said) == 1
    assert f"was held by run {OTHER}" in said[0]
    assert "its process is no longer there" in said[0]


def test_a_process_that_got_the_number_of_a_dead_one_is_another(store: Store, layout: Layout, said: list[str]) -> None:
    with held_by_a_process(store, layout):
        write(store, layout, json.dumps({**read(store, layout), "born": "1"}).encode())
        with lease(store, layout, RUN, "refuse", said.append):
            assert read(store, layout)["run"] == RUN


def test_a_run_that_died_elsewhere_is_taken_over_when_its_lease_has_run_out(
    store: Store, layout: Layout, said: list[str]
) -> None:
    write(store, layout, held_elsewhere())
    began = time.monotonic()
    with lease(store, layout, RUN, "wait", said.append, poll=0.1):
        assert time.monotonic() - began >= SECONDS - 1
        assert read(store, layout)["run"] == RUN
    assert "is held by" in said[0]
    assert f"was held by run {OTHER} on there (process 7)" in said[1]
    assert "did not renew its lease of 2 s" in said[1]


def test_a_lease_that_ran_out_long_ago_does_not_refuse(store: Store, layout: Layout) -> None:
    write(store, layout, held_elsewhere(seconds=0.5))
    time.sleep(3)
    with lease(store, layout, RUN, "refuse", print) as held:
        held.check()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"run": 1}', b'{"seconds": NaN}', b"\xff"])
def test_a_lock_that_cannot_be_read_is_one(store: Store, layout: Layout, body: bytes) -> None:
    write(store, layout, body)
    with pytest.raises(LockedError, match="no readable name"), lease(store, layout, RUN, "refuse", print):
        pytest.fail("taken")


def test_only_one_of_many_gets_it(store: Store, layout: Layout) -> None:
    assert len(race(store, layout, 8)) == 1


@pytest.mark.needs("conditional writes")
@pytest.mark.parametrize("let_go", [False, True], ids=["new", "let go"])
@pytest.mark.parametrize("manner", [manner for manner in MANNERS if manner not in EXCLUSIVE])
def test_only_one_of_many_gets_it_where_no_condition_works(
    store: Store, layout: Layout, monkeypatch: pytest.MonkeyPatch, manner: Manner, let_go: bool
) -> None:
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.7)
    changed = store_in_manner(store, manner)
    if let_go:
        with lease(store, layout, OTHER, "refuse", print):
            pass
    assert len(race(changed, layout, 4)) == 1


@pytest.mark.parametrize("manner", AS_IT_IS_AND_OTHERWISE)
def test_a_lease_is_renewed_and_let_go_whatever_the_store_makes_of_conditions(
    store: Store, layout: Layout, monkeypatch: pytest.MonkeyPatch, manner: Manner
) -> None:
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.02)
    changed, seconds = store_in_manner(store, manner), 0.6
    exclusive = probe_writing(changed, layout.bucket, layout.root, ObjectOptions()).exclusive
    for run in (RUN, OTHER):
        with lease(changed, layout, run, "refuse", print, seconds) as held:
            time.sleep(seconds * 1.5)
            held.check()
            assert held.holds
            if run == OTHER:  # the first one may be advisory where only new keys are not refused
                assert held.advisory != exclusive
            assert read(store, layout)["renewals"] >= 2
    with lease(changed, layout, RUN, "refuse", print, seconds) as held:
        write(store, layout, held_elsewhere())
        assert becomes_lost(held)


@pytest.mark.needs("conditional writes")
def test_a_right_condition_that_is_refused_all_of_a_sudden_loses_no_lease(
    store: Store, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ceph lets conditions through for an object that was made since versioning was suspended, and for no older one."""
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.2)
    with lock.lease(
        store_in_manner(store, "versioned"), ObjectOptions(), layout, Capabilities(), RUN, "refuse", print, 0.9
    ) as held:
        time.sleep(1.5)
        held.check()
        assert held.holds
        assert held.advisory
    with lock.lease(
        store_in_manner(store, "versioned"), ObjectOptions(), layout, Capabilities(), OTHER, "refuse", print, 0.9
    ) as held:
        assert held.holds


@pytest.mark.needs("conditional writes")
def test_without_conditions_a_lease_that_ran_out_is_taken_over_after_twice_its_time(
    store: Store, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.2)
    changed = store_in_manner(store, "ignores")
    write(store, layout, held_elsewhere())
    began = time.monotonic()
    with lease(changed, layout, RUN, "wait", print, poll=0.1) as held:
        assert time.monotonic() - began >= 2 * SECONDS - 1
        assert held.advisory


def test_a_run_whose_lease_was_taken_over_must_stop_and_leaves_the_lock_to_the_other(
    store: Store, layout: Layout
) -> None:
    with lease(store, layout, RUN, "refuse", print, SECONDS) as held:
        write(store, layout, held_elsewhere())
        assert becomes_lost(held)
        with pytest.raises(LockedError, match=f"taken over by run {OTHER} on there"):
            held.check()
    assert read(store, layout)["token"] == "theirs"


def test_a_run_that_loses_its_lease_is_told_at_once(store: Store, layout: Layout, said: list[str]) -> None:
    told = threading.Event()
    with lease(store, layout, RUN, "refuse", said.append, seconds=0.6) as held:
        held.on_lost = told.set
        write(store, layout, held_elsewhere())
        assert told.wait(5), "It looks by itself, and waits for nobody to ask."


def test_a_lock_that_somebody_removed_is_written_again(store: Store, layout: Layout) -> None:
    with lease(store, layout, RUN, "refuse", print, SECONDS) as held:
        store.client().delete_object(Bucket=layout.bucket, Key="cats/.imagehaul/lock.json")
        time.sleep(SECONDS)
        held.check()
        assert read(store, layout)["run"] == RUN


def test_an_answer_that_is_lost_on_its_way_loses_no_lease(store: Store, layout: Layout) -> None:
    changed = fresh_store(store)
    lost: list[int] = []

    def again(attempts: int, response: Any, **_: object) -> float | None:
        # The write has been carried out. botocore tries again, and then meets its own object.
        if attempts == 1 and response and response[0].status_code == 200:
            lost.append(attempts)
            return 0.01
        return None

    changed.client().meta.events.register_first("needs-retry.s3.PutObject", again)
    with lease(changed, layout, RUN, "refuse", print, SECONDS) as held:
        time.sleep(SECONDS)
        held.check()
        assert len(lost) >= 2
        assert read(store, layout)["run"] == RUN
    assert read(store, layout)["released"]


def test_an_outage_shorter_than_the_lease_does_no_harm_and_a_longer_one_stops_the_run(
    store: Store, layout: Layout
) -> None:
    changed = fresh_store(store)
    broken = threading.Event()

    def fail(**_: object) -> None:
        if broken.is_set():
            raise ConnectionError("the cable is out")

    changed.client().meta.events.register("before-send.s3", fail)
    with lease(changed, layout, RUN, "refuse", print, SECONDS) as held:
        broken.set()
        time.sleep(SECONDS * 0.7)
        held.check()
        time.sleep(SECONDS * 0.7)
        with pytest.raises(StoreError, match="cannot be reached"):
            held.check()
        broken.clear()
        held.check()
    assert read(store, layout)["released"]


@pytest.mark.needs("bucket policies")
def test_a_key_that_may_not_delete_is_enough(store: Store, layout: Layout) -> None:
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:DeleteObject",
        "Resource": f"arn:aws:s3:::{layout.bucket}/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    store.client().put_bucket_policy(Bucket=layout.bucket, Policy=policy)
    for run in (RUN, OTHER):
        with lease(store, layout, run, "refuse", print):
            assert read(store, layout)["run"] == run


def test_a_bucket_that_is_not_there_is_said(store: Store) -> None:
    nowhere = Layout("no-such-bucket", "", "cats")
    with (
        pytest.raises(StoreError, match="no such bucket"),
        lock.lease(store, ObjectOptions(), nowhere, Capabilities(), RUN, "wait", print),
    ):
        pytest.fail("taken")


def race(store: Store, layout: Layout, runners: int) -> list[int]:
    """Those of the runners that got the lock, all starting at once."""
    got: list[int] = []
    barrier = threading.Barrier(runners)
    done = threading.Event()

    def run(number: int) -> None:
        barrier.wait()
        try:
            with lease(store, layout, f"runner {number}", "refuse", print):
                got.append(number)
                done.wait(30)
        except LockedError:
            pass

    threads = [threading.Thread(target=run, args=(number,)) for number in range(runners)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while sum(thread.is_alive() for thread in threads) > max(1, len(got)) and time.monotonic() < deadline:
        time.sleep(0.05)
    done.set()
    for thread in threads:
        thread.join()
    return got


def becomes_lost(held: lock.Lease) -> bool:
    deadline = time.monotonic() + 5 * SECONDS
    while not held.lost and time.monotonic() < deadline:
        time.sleep(0.05)
    return held.lost
