"""What stops a run in the middle of it is what the run ends with, whatever waits or is at work: the store's words, or
the run that took the data set over."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from imagehaul.delivery import work
from imagehaul.delivery.jobs import BatchJob, BatchResult
from imagehaul.delivery.runners.in_process import InProcess
from imagehaul.delivery.runners.registry import OpenRunner
from imagehaul.errors import LockedError
from imagehaul.ledger.lease import lease
from imagehaul.store.endpoint import Store
from tests.ledger.test_lease import OTHER, held_elsewhere
from tests.sources.test_archive import pack
from tests.support.delivering import Target, draw, in_this_process, in_two_processes
from tests.support.fault_proxy import FaultProxy, says

SETTINGS = {"batch_size": 1, "workers": 2}
REFUSED = says(403, "InvalidAccessKeyId")


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, bytes]:
    return {f"{number}.jpg": draw(tmp_path / "source" / f"{number}.jpg", seed=number) for number in range(8)}


def assert_the_store_is_named(source: Path, store: Store, bucket: str, open_runner: OpenRunner) -> None:
    with FaultProxy(store, lambda exchange: REFUSED if exchange.sends else None) as proxy:
        summary = Target(proxy.store, bucket).deliver(source, settings=SETTINGS, open_runner=open_runner)
    assert (summary.counts.failed, summary.counts.delivered, summary.published) == (8, 0, False)
    assert "InvalidAccessKeyId" in summary.warnings[0]


@pytest.mark.parametrize("open_runner", [in_this_process, in_two_processes])
def test_of_a_folder(
    pictures: dict[str, bytes], tmp_path: Path, store: Store, bucket: str, open_runner: OpenRunner
) -> None:
    assert_the_store_is_named(tmp_path / "source", store, bucket, open_runner)


def test_of_an_archive_whose_batches_wait_for_their_turn(
    pictures: dict[str, bytes], tmp_path: Path, store: Store, bucket: str
) -> None:
    assert_the_store_is_named(pack(tmp_path / "set.tar.gz", pictures), store, bucket, in_this_process)


def test_by_another_run_that_took_the_data_set_over(
    pictures: dict[str, bytes], tmp_path: Path, store: Store, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No batch has ended by then: each of them says that it was stopped."""
    monkeypatch.setattr("imagehaul.delivery.inventory.lease", partial(lease, seconds=0.6))

    class Overtaken(InProcess):
        told = threading.Event()

        def stop(self) -> None:
            super().stop()
            self.told.set()

        def run(self, job: BatchJob) -> BatchResult:
            store.client().put_object(Bucket=bucket, Key="pre/set/.imagehaul/lock.json", Body=held_elsewhere())
            assert self.told.wait(10)
            return super().run(job)

    def overtaken(_: Any, context: Any, store: Store, starter: Any, batches: Any) -> Overtaken:
        return Overtaken(context, store, starter.holds_until)

    with pytest.raises(LockedError, match=f"taken over by run {OTHER} on there"):
        Target(store, bucket).deliver(tmp_path / "source", settings=SETTINGS, open_runner=overtaken)


def test_no_batch_begins_while_the_store_is_told() -> None:
    """A store that answers slowly holds up the word to the workers elsewhere, and a second Ctrl-C may cut it off."""
    runner, held = Mock(), Mock()
    runner.name = "dask"
    held.lease.stop_workers.side_effect = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        work.end(runner, held)
    assert runner.stop.called
