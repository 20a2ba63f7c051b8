"""Processes for batches that start before there is a plan, and those that nobody needs."""

from __future__ import annotations

import errno
import math
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from imagehaul.delivery import chain
from imagehaul.delivery.batch_threads import in_threads
from imagehaul.delivery.run import HeldDataset
from imagehaul.delivery.runners import process_starter, registry
from imagehaul.delivery.runners.process_handle import WorkerProcess
from imagehaul.delivery.runners.process_starter import ProcessStarter
from imagehaul.delivery.summary import Summary
from imagehaul.errors import HaulError
from imagehaul.ledger.plan import Plan
from imagehaul.records import Request
from imagehaul.settings import Settings
from tests.support.delivering import Lines, Target, draw

SETTINGS: dict[str, Any] = {"workers": 2, "batch_size": 10, "skip_image_thumbnail_generation": True}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The processes for batches that were started, by number; at the end none of them is there."""
    found: list[int] = []

    class Noted(WorkerProcess):
        def __init__(self, lease: int) -> None:
            super().__init__(lease)
            found.append(self._process.pid)

    monkeypatch.setattr(process_starter, "WorkerProcess", Noted)
    monkeypatch.setattr(registry, "FEW_IMAGES", 5)
    yield found
    assert not any(psutil.pid_exists(process) for process in found)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number in range(60):
        draw(tmp_path / "source" / f"{number:02}.jpg", seed=number)
    return tmp_path / "source"


def deliver(target: Target, source: Path, **request: Any) -> Summary:
    return target.deliver(source, settings=SETTINGS, open_runner=registry.open_runner, **request)


def test_they_start_as_the_images_come(started: list[int]) -> None:
    with closing(ProcessStarter(lambda: math.inf, ahead=2, few=5)) as starter:
        seen = [(image, len(started)) for image in starter.watching(range(1, 101))]
    assert [image for image, _ in seen] == list(range(1, 101))
    assert [count for _, count in seen] == [0] * 5 + [1] * 25 + [2] * 70


def test_batches_are_worked_on_by_those_that_started_ahead(
    started: list[int], pictures: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_plan: list[int] = []
    plain = chain.plan_work

    def plan_work(held: HeldDataset) -> Plan:
        before_the_plan.extend(started)
        return plain(held)

    monkeypatch.setattr(chain, "plan_work", plan_work)
    summary = deliver(target, pictures)
    assert (summary.counts.delivered, summary.published) == (60, True)
    assert len(before_the_plan) == 2
    assert started == before_the_plan, "no other was started"


def test_none_starts_ahead_where_there_may_be_nothing_to_do(started: list[int], pictures: Path, target: Target) -> None:
    deliver(target, pictures, dry_run=True)
    assert not started
    settings = Settings(remote_save=f"s3://{target.bucket}/{target.prefix}", **SETTINGS)
    chain.deliver(
        Request(target.dataset, str(pictures)), settings, target.store, in_threads, Lines(), approve=lambda _: False
    )
    assert not started
    deliver(target, pictures)
    assert len(started) == 2
    assert deliver(target, pictures).nothing_changed
    assert len(started) == 2


def test_a_run_of_one_worker_or_elsewhere_starts_none(started: list[int]) -> None:
    values: dict[str, Any]
    for values in ({"workers": 1}, {"workers": 4, "task_runner": "dask"}):
        settings = Settings(remote_save="s3://bucket/prefix/", **values)
        with closing(registry.open_starter(settings, lambda: math.inf, all_is_new=True)) as starter:
            assert list(starter.watching(range(200))) == list(range(200))
    assert not started


def test_a_run_that_ends_before_its_batches_leaves_none(started: list[int], pictures: Path, target: Target) -> None:
    with pytest.raises(HaulError):
        deliver(target, pictures, annotations=(str(pictures / "none.json"),))
    assert len(started) == 2


def test_one_that_died_while_it_waited_is_not_given(started: list[int]) -> None:
    with closing(ProcessStarter(lambda: math.inf, ahead=1, few=0)) as starter:
        list(starter.watching(range(3)))
        [process] = started
        psutil.Process(process).kill()
        starter._spare[0]._reader.join()
        given = starter.start()
        assert len(started) == 2
        assert given.is_alive
        given.end()


@pytest.mark.parametrize("which", ["keeps", "batch results", "shared lease"])
def test_where_no_thread_can_start_there_is_no_process_either(monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    """As where a container has few `pids`, of which each thread is one."""
    plain = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith(which):
            raise RuntimeError("can't start new thread")
        plain(thread)

    before = psutil.Process().children()
    monkeypatch.setattr(threading.Thread, "start", start)
    with closing(ProcessStarter(lambda: math.inf, ahead=1, few=0)) as starter:
        assert list(starter.watching(range(3))) == [0, 1, 2]
        with pytest.raises(HaulError, match="No process for batches can be started: Resource temporarily unavailable"):
            starter.start()
    assert psutil.Process().children() == before


def test_where_no_process_can_start_the_batches_say_so(
    pictures: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(lease: int) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(process_starter, "WorkerProcess", refused)
    monkeypatch.setattr(registry, "FEW_IMAGES", 5)
    with pytest.raises(HaulError, match="No process for batches can be started: Resource temporarily unavailable"):
        deliver(target, pictures)
