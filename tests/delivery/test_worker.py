"""A process's worker for the batches of a run: how it begins, and that nothing of it is left where it cannot."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagehaul.delivery import worker
from imagehaul.delivery.jobs import BatchContext, BatchJob
from imagehaul.delivery.recipes import wanted_of
from imagehaul.delivery.runners import worker_process
from imagehaul.delivery.worker import Worker, run_batch
from imagehaul.errors import HaulError, SettingsError
from imagehaul.layout import Layout
from imagehaul.ledger.fence import Fence
from imagehaul.records import Request
from imagehaul.rendering.pool import RenderPool
from imagehaul.settings import Settings
from imagehaul.sources.source import SourceDescriptor
from imagehaul.store.endpoint import Store
from imagehaul.store.reference import StoreReference
from imagehaul.version import software


def context_for(tmp_path: Path, source_type: str = "folder") -> BatchContext:
    settings = Settings(remote_save="s3://images/")
    return BatchContext(
        run="20261122T101500Z-1f3a9c",
        software=software(),
        source=SourceDescriptor(source_type, str(tmp_path)),
        store=StoreReference(),
        mapping=settings.mapping(Layout("images", "", "birds")),
        wanted=wanted_of(Request("birds", str(tmp_path)), settings),
        render=settings.render_options(),
        objects=settings.object_options(),
        engine="boto3",
        transfer_workers=1,
        renderers=1,
        cores=0,
        scratch=str(tmp_path),
        fence=Fence("token", 60.0),
    )


def job_for(context: BatchContext) -> BatchJob:
    return BatchJob(context, number=1, images=0, size=0, planned=b"")


class Lease:
    """Stands for the look at the lease, which takes a store."""

    seen: list[Lease]
    ends_at_once = False

    def __init__(self, _client: Any, _layout: Layout, _fence: Fence, on_end: Callable[[], None]) -> None:
        self.closed, self.holds = False, not self.ends_at_once
        self.seen.append(self)
        self.ending = threading.Thread(target=on_end)
        if self.ends_at_once:
            self.ending.start()
            self.ending.join(0.5)  # It has told the worker by then, and waits for whoever makes it.

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def leases(monkeypatch: pytest.MonkeyPatch) -> list[Lease]:
    Lease.seen, Lease.ends_at_once = [], False
    monkeypatch.setattr(worker, "FenceView", Lease)
    return Lease.seen


def test_a_source_that_cannot_be_opened_leaves_nothing_of_the_worker(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    class Pool(RenderPool):
        def close(self) -> None:
            ended.append("rendering")
            super().close()

    monkeypatch.setattr(worker, "RenderPool", Pool)
    with pytest.raises(SettingsError, match="no-such-type"):
        Worker(context_for(tmp_path, "no-such-type"), store)
    assert ended == ["rendering"]


def test_a_lease_that_ends_while_the_worker_is_made_ends_the_worker(
    tmp_path: Path, store: Store, leases: list[Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "check_worker", lambda _context: "")
    monkeypatch.setattr(worker, "resolve_store", lambda _reference: store)
    monkeypatch.setattr(Lease, "ends_at_once", True)
    job = job_for(context_for(tmp_path))
    with pytest.raises(HaulError, match="stopped"):
        run_batch(job)
    leases[0].ending.join(10)
    assert leases[0].closed
    assert job.context.run not in worker._workers


def test_a_stop_that_comes_while_the_worker_is_made_reaches_it(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work, told = threading.Event(), threading.Event()
    ran: list[BatchJob] = []

    class Slow:
        def __init__(self, *_: Any) -> None:
            at_work.set()
            assert told.wait(10)

        def run(self, job: BatchJob) -> None:
            ran.append(job)

        def stop(self) -> None:
            """Not there yet when the stop came."""

    monkeypatch.setattr(worker_process, "Worker", Slow)
    context = context_for(tmp_path)
    opened = worker_process._Opened(context, store, lease=0)
    outcome: list[BaseException] = []

    def run() -> None:
        try:
            opened.run(job_for(context))
        except HaulError as error:
            outcome.append(error)

    batch = threading.Thread(target=run)
    batch.start()
    assert at_work.wait(10)
    opened.stop()
    told.set()
    batch.join(10)
    assert (ran, len(outcome)) == ([], 1)
