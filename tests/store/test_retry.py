"""How long a transfer goes on trying, and when it gives up."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from imagehaul.errors import StoreError
from imagehaul.records import SendResult
from imagehaul.store.retry import Retry, StallMonitor, in_threads, silence, within_file_limit
from tests.support.misbehaving import STORED, Misbehaving
from tests.support.sending import NOWHERE, QUICK, outcomes


@dataclass(frozen=True)
class Thing:
    key: str


def things(count: int) -> list[Thing]:
    return [Thing(str(number)) for number in range(count)]


def sent(thing: Thing) -> SendResult:
    return SendResult(thing.key, "sent")


def failed(code: str) -> Callable[[Thing], SendResult]:
    return lambda thing: SendResult(thing.key, "failed", code)


def monitor(stall_seconds: float = 5.0, refusals: int = 8) -> StallMonitor:
    return StallMonitor(threading.Event(), stall_seconds, refusals)


# -- one attempt -----------------------------------------------------------------------------------------------------


def test_each_item_gets_its_answer_in_order() -> None:
    answers = in_threads(things(50), sent, 4, monitor())

    assert [answer.key for answer in answers] == [thing.key for thing in things(50)]


def test_no_more_threads_work_than_are_allowed() -> None:
    at_work, most = 0, 0
    lock = threading.Lock()

    def work(thing: Thing) -> SendResult:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.005)
        with lock:
            at_work -= 1
        return sent(thing)

    in_threads(things(30), work, 3, monitor())

    assert most == 3


def test_an_error_for_the_whole_run_is_raised_at_once() -> None:
    def work(thing: Thing) -> SendResult:
        if thing.key == "1":
            raise StoreError("These keys are refused.", "ACCESS_DENIED")
        time.sleep(0.3)
        return sent(thing)

    began = time.monotonic()
    with pytest.raises(StoreError, match="refused"):
        in_threads(things(100), work, 2, monitor())
    assert time.monotonic() - began < 5


def test_threads_that_hang_are_left_behind_and_their_items_unknown() -> None:
    over = threading.Event()

    def work(thing: Thing) -> SendResult:
        if thing.key == "2":
            over.wait(30)
        return sent(thing)

    answers = in_threads(things(4), work, 2, monitor(stall_seconds=0.3))
    over.set()

    assert [answer.outcome for answer in answers] == ["sent", "sent", "unknown", "sent"]


def test_a_store_that_refuses_one_connection_after_another_is_not_asked_a_thousand_times() -> None:
    asked: list[Thing] = []

    def work(thing: Thing) -> SendResult:
        asked.append(thing)
        return SendResult(thing.key, "failed", "STORE_UNAVAILABLE")

    answers = in_threads(things(1000), work, 2, monitor(refusals=8))

    assert len(asked) < 20
    assert len(answers) == 1000


def test_an_answer_in_between_shows_that_the_store_is_there() -> None:
    refusing = monitor(refusals=3)
    for code in ("STORE_UNAVAILABLE", "STORE_UNAVAILABLE", "", "STORE_UNAVAILABLE", "STORE_UNAVAILABLE"):
        refusing.heard(SendResult("a", "failed" if code else "sent", code))

    assert not refusing.over


@pytest.mark.parametrize(("size", "over"), [(300_000, False), (100, True)])
def test_bytes_on_their_way_are_progress_and_a_drip_is_none(size: int, over: bool) -> None:
    stalling = monitor(stall_seconds=0.4)
    for _ in range(8):
        time.sleep(0.1)
        stalling.moved(size)

    assert stalling.over is over


# -- retry ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def answering() -> Iterator[Retry]:
    """Retry with a store that answers when it is asked whether it is there."""
    with Misbehaving(lambda _: STORED) as server:
        yield Retry(server.store, "bucket", QUICK)


@pytest.mark.parametrize("word", [silence, lambda key: SendResult(key, "failed", "STORE_BUSY")])
def test_only_what_may_still_succeed_is_tried_again(answering: Retry, word: Callable[[str], SendResult]) -> None:
    tried: list[list[str]] = []

    def attempt(left: list[Thing]) -> list[SendResult]:
        tried.append([thing.key for thing in left])
        first = len(tried) == 1
        return [
            word(thing.key)
            if thing.key == "1" and first
            else SendResult(thing.key, "rejected", "KEY_TOO_LONG")
            if thing.key == "0"
            else SendResult(thing.key, "failed", "SOURCE_CHANGED")
            if thing.key == "3"
            else sent(thing)
            for thing in left
        ]

    answers = answering.run(things(4), attempt)

    assert tried == [["0", "1", "2", "3"], ["1"]]
    assert outcomes(answers) == [("rejected", "KEY_TOO_LONG"), ("sent", ""), ("sent", ""), ("failed", "SOURCE_CHANGED")]


def test_after_three_more_attempts_the_last_word_stands(answering: Retry) -> None:
    tried: list[int] = []

    def attempt(left: list[Thing]) -> list[SendResult]:
        tried.append(len(left))
        return [failed("STORE_BUSY")(thing) for thing in left]

    assert outcomes(answering.run(things(2), attempt)) == [("failed", "STORE_BUSY")] * 2
    assert tried == [2, 2, 2, 2]


def test_the_pauses_grow_and_are_drawn_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    retry = Retry(NOWHERE, "bucket", replace(QUICK, pauses=(4.0, 16.0, 64.0)))
    monkeypatch.setattr(retry.closed, "wait", lambda seconds: waited.append(seconds))

    retry.run(things(1), lambda left: [failed("STORE_BUSY")(thing) for thing in left])

    first, second, third, fourth = waited
    assert first == 0
    assert 2 <= second <= 4
    assert 8 <= third <= 16
    assert 32 <= fourth <= 64
    assert second * 4 != third


def test_a_store_that_is_gone_is_asked_once_a_round_and_not_for_each_object() -> None:
    tried: list[int] = []

    def attempt(left: list[Thing]) -> list[SendResult]:
        tried.append(len(left))
        return [silence(thing.key) for thing in left]

    with pytest.raises(StoreError) as caught:
        Retry(NOWHERE, "bucket", QUICK).run(things(5), attempt)

    assert caught.value.code == "STORE_UNAVAILABLE"
    assert tried == [5]


def test_objects_that_alone_find_no_way_do_not_stop_the_run(answering: Retry) -> None:
    answers = answering.run(things(2), lambda left: [failed("STORE_UNAVAILABLE")(thing) for thing in left])

    assert outcomes(answers) == [("failed", "STORE_UNAVAILABLE")] * 2


def test_keys_that_expired_are_asked_for_anew_once(monkeypatch: pytest.MonkeyPatch) -> None:
    renewed: list[object] = []
    monkeypatch.setattr("imagehaul.store.endpoint.Store.renew", lambda self: renewed.append(self))

    def attempt(left: list[Thing]) -> list[SendResult]:
        if not renewed:
            raise StoreError("The keys have expired.", "CREDENTIALS_EXPIRED")
        return [sent(thing) for thing in left]

    assert outcomes(Retry(NOWHERE, "bucket", QUICK).run(things(2), attempt)) == [("sent", "")] * 2
    assert renewed == [NOWHERE]


def test_keys_that_stay_expired_stop_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagehaul.store.endpoint.Store.renew", lambda _: None)

    def attempt(left: list[Thing]) -> list[SendResult]:
        raise StoreError("The keys have expired.", "CREDENTIALS_EXPIRED")

    with pytest.raises(StoreError, match="expired"):
        Retry(NOWHERE, "bucket", QUICK).run(things(2), attempt)


def test_a_closed_engine_begins_nothing() -> None:
    retry = Retry(NOWHERE, "bucket", QUICK)
    retry.closed.set()

    with pytest.raises(StoreError) as caught:
        retry.run(things(2), lambda left: pytest.fail("an attempt was made"))

    assert caught.value.code == "NOT_ATTEMPTED"


@pytest.mark.parametrize(
    ("limit", "workers", "allowed"),
    [(1024, 32, 32), (200, 256, 34), (20, 8, 1), (resource.RLIM_INFINITY, 256, 256)],
)
def test_workers_stay_within_the_limit_of_open_files(
    monkeypatch: pytest.MonkeyPatch, limit: int, workers: int, allowed: int
) -> None:
    monkeypatch.setattr("imagehaul.store.retry.resource.getrlimit", lambda _: (limit, limit))

    assert within_file_limit(workers) == allowed
