"""The end of a run's lease as processes for batches see it, whether the process that leads is awake or not."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from imagehaul.delivery.jobs import BatchContext
from imagehaul.delivery.runners import shared_lease
from imagehaul.delivery.runners.process_starter import ProcessStarter
from imagehaul.delivery.runners.processes import ProcessPool
from imagehaul.delivery.runners.runner import Runner
from imagehaul.delivery.runners.shared_lease import SharedLease, holds
from imagehaul.ledger.fence import now
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store
from tests.support.delivering import Target, draw
from tests.support.fault_proxy import Exchange, FaultProxy


@pytest.mark.parametrize(("left", "expected"), [(60.0, True), (math.inf, True), (-0.1, False), (-math.inf, False)])
def test_another_process_sees_whether_it_holds(left: float, expected: bool) -> None:
    lease = SharedLease(lambda: now() + left)
    look = f"from imagehaul.delivery.runners.shared_lease import holds; print(holds({lease.descriptor}))"
    seen = subprocess.run([sys.executable, "-c", look], pass_fds=(lease.descriptor,), capture_output=True, text=True)
    lease.close()
    assert seen.stdout.strip() == str(expected), seen.stderr


def test_a_lease_is_renewed_and_runs_out_unrenewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_lease, "LOOK_SECONDS", 0.05)
    ends = [now() + 0.3]
    lease = SharedLease(lambda: ends[-1])
    assert holds(lease.descriptor)
    ends.append(now() + 60)
    time.sleep(0.4)
    assert holds(lease.descriptor), "renewed"
    ends.append(now() + 0.2)
    time.sleep(0.1)
    assert holds(lease.descriptor)
    time.sleep(0.2)
    assert not holds(lease.descriptor), "Nobody had to say so."
    lease.close()
    lease.close()


def test_processes_send_nothing_while_the_lease_is_not_the_runs(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_lease, "LOOK_SECONDS", 0.05)
    for number in range(60):
        draw(tmp_path / "many" / f"{number:02}.jpg", seed=number)
    ends, sent, after = [math.inf], [0], [0]

    def give_back() -> None:
        # It has been seen by then, and what was under way has arrived. All would take two seconds.
        time.sleep(0.9)
        before = sent[0]
        time.sleep(0.5)
        after.append(sent[0] - before)
        ends.append(math.inf)

    def choose(exchange: Exchange) -> None:
        sent[0] += exchange.sends
        if sent[0] == 20 and len(ends) == 1:
            ends.append(0.0)
            threading.Thread(target=give_back).start()
        time.sleep(0.1 * exchange.sends)

    def open_runner(settings: Settings, context: BatchContext, store: Store, *_: object) -> Runner:
        return ProcessPool(context, store, ProcessStarter(lambda: ends[-1]), 2)

    with FaultProxy(target.store, choose) as proxy:
        settings = {"batch_size": 30, "transfer_workers": 4, "skip_image_thumbnail_generation": True, "workers": 2}
        summary = Target(proxy.store, target.bucket).deliver(
            tmp_path / "many", settings=settings, open_runner=open_runner
        )
    assert len(ends) == 3
    assert after[-1] == 0
    assert (summary.counts.delivered, summary.published) == (60, True), "A lease that was renewed late is held again."
