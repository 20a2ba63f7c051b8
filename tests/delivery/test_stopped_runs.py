"""A store that stops a run in the middle of it: its words are what the run ends with, whatever waits or is at work."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagehaul.delivery.runners.runner import OpenRunner
from imagehaul.store.endpoint import Store
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
