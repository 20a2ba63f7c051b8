"""Batches in processes of this machine, with the real store."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from imagehaul.child_process import start_bound_python
from imagehaul.delivery.jobs import BatchContext, BatchJob
from imagehaul.delivery.runners import process_handle, registry
from imagehaul.delivery.runners.in_process import InProcess
from imagehaul.delivery.runners.process_handle import WorkerProcess
from imagehaul.delivery.runners.process_starter import ProcessStarter
from imagehaul.delivery.runners.processes import ProcessPool
from imagehaul.delivery.runners.registry import FEW_IMAGES
from imagehaul.delivery.runners.runner import Runner
from imagehaul.errors import HaulError
from imagehaul.records import BatchReference
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store
from tests.support.delivering import Target, draw, in_this_process, in_two_processes
from tests.support.fault_proxy import Exchange, Fault, FaultProxy

IN_BATCHES_OF_TEN = {"batch_size": 10, "workers": 2}


@pytest.fixture
def many(tmp_path: Path) -> Path:
    folder = tmp_path / "many"
    for number in range(60):
        draw(folder / f"{number:02}.jpg", seed=number)
    return folder


def test_processes_leave_the_same_store_and_ledger_as_threads(many: Path, target: Target, store: Store) -> None:
    (many / "broken.jpg").write_bytes(b"no picture")
    here = target.deliver(many, settings=IN_BATCHES_OF_TEN)
    other = Target(store, target.bucket, prefix="other/")
    there = other.deliver(many, settings=IN_BATCHES_OF_TEN, open_runner=in_two_processes)
    assert (there.counts, there.engine) == (here.counts, here.engine)
    assert (there.counts.delivered, there.counts.rejected) == (60, 1)
    assert other.stored() == target.stored()
    rows = [{**row, "key": row["key"].removeprefix("other/")} for row in other.ledger()]
    expected = [{**row, "key": row["key"].removeprefix("pre/")} for row in target.ledger()]
    columns = ("source_path", "kind", "key", "status", "code", "md5", "sha256", "etag", "proof", "width", "height")
    assert [[row[name] for name in columns] for row in rows] == [[row[name] for name in columns] for row in expected]
    again = other.deliver(many, settings=IN_BATCHES_OF_TEN, open_runner=in_two_processes)
    assert (again.counts.objects, again.nothing_changed) == (0, True)


def test_processes_are_chosen_where_they_are_worth_their_start(tmp_path: Path, target: Target) -> None:
    chosen: list[type[Runner]] = []

    def open_runner(*arguments: Any) -> Runner:
        *others, _ = arguments
        half = FEW_IMAGES // 2
        for counts in ([half, half], [half + 1, half + 1], [FEW_IMAGES + 1]):
            batches = [BatchReference(number, 0, 0, images, 0) for number, images in enumerate(counts)]
            runner = registry.open_runner(*others, batches)
            chosen.append(type(runner))
            runner.close()
        return in_this_process(*arguments)

    draw(tmp_path / "source" / "one.jpg")
    target.deliver(tmp_path / "source", settings={"workers": 2}, open_runner=open_runner)
    assert chosen == [InProcess, ProcessPool, InProcess], "few images; more; one batch needs no second process"


def test_a_worker_that_is_killed_costs_its_batches_another_try(many: Path, target: Target) -> None:
    killed: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 30
        while len(killed) < 2 and time.monotonic() < deadline:
            for process in psutil.Process().children():
                if "worker_process" in " ".join(process.cmdline()) and process.pid not in killed:
                    time.sleep(0.3)
                    os.kill(process.pid, signal.SIGKILL)
                    killed.append(process.pid)
                    break
            time.sleep(0.05)

    killer = threading.Thread(target=kill)
    killer.start()
    summary = target.deliver(many, settings=IN_BATCHES_OF_TEN, open_runner=in_two_processes)
    killer.join()
    assert len(killed) == 2
    assert (summary.counts.delivered, summary.counts.failed, summary.published) == (60, 0, True)


def test_what_a_worker_sent_before_it_died_is_not_sent_again(many: Path, target: Target) -> None:
    sent: Counter[str] = Counter()
    killed: list[psutil.Process] = []

    def choose(exchange: Exchange) -> Fault | None:
        if exchange.sends:
            sent[exchange.key] += 1
            if sum(sent.values()) == 80:
                killed[:] = [p for p in psutil.Process().children() if "worker_process" in " ".join(p.cmdline())]
                killed[0].kill()
        return None

    with FaultProxy(target.store, choose) as proxy:
        through = Target(proxy.store, target.bucket)
        settings = {"batch_size": 60, "workers": 2, "transfer_workers": 4}
        summary = through.deliver(many, settings=settings, open_runner=in_two_processes)
        proxy.store.renew()
    assert len(killed) == 2, "one of them died, in the middle of its batch"
    assert (summary.counts.delivered, summary.published) == (60, True)
    twice = sum(count > 1 for count in sent.values())
    assert twice <= 12, f"{twice} of some 40, where a few were on their way"


def test_a_batch_on_which_every_worker_dies_fails_with_a_code_of_its_own(
    many: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = WorkerProcess.submit

    def deadly(self: WorkerProcess, job: Any) -> Any:
        future = submit(self, job)
        if job.number == 2:
            os.kill(self._process.pid, signal.SIGKILL)
        return future

    monkeypatch.setattr(WorkerProcess, "submit", deadly)
    summary = target.deliver(many, settings=IN_BATCHES_OF_TEN, open_runner=in_two_processes)
    assert (summary.counts.delivered, summary.counts.failed, summary.published) == (50, 10, False)
    (reason,) = [reason for reason in summary.reasons if reason.status == "failed"]
    assert (reason.code, reason.images) == ("WORKER_LOST", 10)
    monkeypatch.undo()
    assert target.deliver(many, settings=IN_BATCHES_OF_TEN).counts.failed == 0


@dataclass(frozen=True)
class Context:
    """What a pool looks at in a context."""

    transfer_workers: int = 1
    renderers: int = 1
    cores: int = 1


def test_a_second_attempt_that_is_stuck_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    programs = ["import time; time.sleep(600)", "pass"]
    monkeypatch.setattr(
        process_handle, "start_bound_python", lambda _, path, **_how: start_bound_python(programs.pop(), path)
    )
    monkeypatch.setattr(process_handle, "END_SECONDS", 0.5)
    no_store: Any = None
    context: Any = Context()
    pool = ProcessPool(context, no_store, ProcessStarter(lambda: math.inf), 1)
    with ThreadPoolExecutor(1) as threads:
        result = threads.submit(pool.run, BatchJob(context, 1, 1, 1, b""))
        while not pool._lone:
            time.sleep(0.05)
        closing = threading.Thread(target=pool.close, daemon=True)
        closing.start()
        closing.join(10)
        ended = not closing.is_alive()
        if not ended and pool._lone:
            pool._lone.kill()
        with pytest.raises(HaulError, match="stopped"):
            result.result(10)
    assert ended


def test_an_error_that_is_no_pictures_fault_reaches_the_leader(many: Path, target: Target, tmp_path: Path) -> None:
    """A scratch folder that goes away under the workers, for instance."""

    def without_scratch(settings: Settings, context: BatchContext, *others: Any) -> Runner:
        return in_two_processes(settings, replace(context, scratch=str(tmp_path / "gone")), *others)

    with pytest.raises(HaulError, match="gone"):
        target.deliver(many, settings=IN_BATCHES_OF_TEN, open_runner=without_scratch)


def test_workers_end_with_a_leader_that_is_killed(many: Path, target: Target, tmp_path: Path) -> None:
    script = tmp_path / "leader.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[3])!r})\n"
        "from tests.support.delivering import Target, in_two_processes\n"
        "from imagehaul.store.endpoint import Store\n"
        "from imagehaul.store.credentials import AccessKey\n"
        f"store = Store(url={target.store.url!r}, credentials=AccessKey(*sys.argv[1:3]))\n"
        f"Target(store, {target.bucket!r}).deliver({str(many)!r}, settings={{'batch_size': 10, 'workers': 2}}, "
        "open_runner=in_two_processes)\n"
    )
    keys = target.store.keys()
    with subprocess.Popen([sys.executable, str(script), keys.access_key, keys.secret_key]) as leader:
        workers: list[psutil.Process] = []
        deadline = time.monotonic() + 60
        while not workers and time.monotonic() < deadline:
            children = psutil.Process(leader.pid).children(recursive=True)
            workers = [child for child in children if "worker_process" in " ".join(child.cmdline())]
            time.sleep(0.02)
        leader.kill()
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert workers
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
