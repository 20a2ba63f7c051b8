"""Batches in threads: results as they come, and an end that waits for nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from imagehaul.delivery.batch_threads import in_threads
from imagehaul.delivery.jobs import BatchResult
from imagehaul.records import BatchReference

BATCHES = [BatchReference(number, 0, 0, 1, 1) for number in range(1, 21)]


def done(batch: BatchReference) -> BatchResult:
    return BatchResult(batch.number, batch.images, batch.size, b"")


class Interrupted(list[BatchReference]):
    """A signal comes while the third of them is handed out."""

    def __iter__(self) -> Iterator[BatchReference]:
        yield self[0]
        yield self[1]
        raise KeyboardInterrupt


def test_each_batch_has_its_result() -> None:
    results = in_threads(BATCHES, done, 3, lambda: None)
    assert sorted(result.number for result in results if result) == list(range(1, 21))


def test_an_error_of_one_interrupts_the_others_and_begins_no_more() -> None:
    interrupted, begun = threading.Event(), list[int]()

    def work_on(batch: BatchReference) -> BatchResult:
        begun.append(batch.number)
        if batch.number == 1:
            raise ValueError("broken")
        assert interrupted.wait(10)
        return done(batch)

    with pytest.raises(ValueError, match="broken"):
        list(in_threads(BATCHES, work_on, 3, interrupted.set))
    assert len(begun) < 10


def test_a_second_signal_while_the_first_is_answered_begins_no_more() -> None:
    begun: list[int] = []

    def work_on(batch: BatchReference) -> BatchResult:
        begun.append(batch.number)
        time.sleep(0.1)
        return done(batch)

    def interrupt() -> None:
        raise KeyboardInterrupt

    results = in_threads(BATCHES, work_on, 2, interrupt)
    next(results)
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt)
    assert len(begun) <= 6


@pytest.mark.parametrize("batches", [Interrupted(BATCHES), BATCHES])
def test_a_signal_interrupts_those_at_work_whenever_it_comes(batches: list[BatchReference]) -> None:
    interrupted = threading.Event()

    def work_on(batch: BatchReference) -> BatchResult:
        if batch.number > 1 or isinstance(batches, Interrupted):
            assert interrupted.wait(10), "nobody told it to end"
        return done(batch)

    results = in_threads(batches, work_on, 3, interrupted.set)
    if isinstance(batches, Interrupted):
        with pytest.raises(KeyboardInterrupt):
            next(results)
    else:
        next(results)
        with pytest.raises(KeyboardInterrupt):
            results.throw(KeyboardInterrupt)
    assert interrupted.is_set()
