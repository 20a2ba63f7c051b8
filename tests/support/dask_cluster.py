"""A Dask scheduler and workers as processes, in folders and with environments of their own, that a test may kill."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from imagehaul.store.endpoint import Store
from tests.support import short_lease
from tests.support.delivering import Target
from tests.support.running import Machine

STARTED = re.compile(r"Scheduler at:\s+(tcp://\S+)")


@dataclass
class Cluster:
    """A scheduler and its workers, at the address `host` of this machine. `environment`: of each worker."""

    folder: Path
    environment: dict[str, str]
    host: str = "127.0.0.1"
    address: str = ""
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_scheduler(self) -> None:
        log = self.folder / "scheduler.log"
        command = ["distributed.cli.dask_scheduler", "--host", self.host, "--port", "0", "--no-dashboard"]
        self.scheduler = self._start(command, log, self.folder, {"PATH": os.environ["PATH"]})
        deadline = time.monotonic() + 60
        while not (found := STARTED.search(log.read_text() if log.exists() else "")):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        self.address = found[1]

    def start_worker(self, *options: str, before: Sequence[str] = (), **environment: str) -> subprocess.Popen[bytes]:
        """`before`: a command that becomes the worker's process, in a network of its own for instance."""
        home = self.folder / f"worker-{len(self.workers)}"
        (home / "tmp").mkdir(parents=True)
        own = {**self.environment, "TMPDIR": str(home / "tmp"), "HOME": str(home), **environment}
        command = [
            "distributed.cli.dask_worker",
            self.address,
            "--nthreads",
            "2",
            "--no-dashboard",
            "--no-nanny",
            *options,
        ]
        worker = self._start(command, home / "log", home, own, before)
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        for process in filter(None, [*self.workers, self.scheduler]):
            process.kill()
            process.wait()

    def _start(
        self,
        command: list[str],
        log: Path,
        folder: Path,
        environment: dict[str, str],
        before: Sequence[str] = (),
    ) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            return subprocess.Popen(
                [*before, sys.executable, "-m", *command],
                cwd=folder,
                env={"PYTHONPATH": str(Path(__file__).parents[2]), **environment},
                stdout=output,
                stderr=output,
            )


@contextmanager
def cluster_with(
    folder: Path, environment: dict[str, str], workers: int = 2, host: str = "127.0.0.1"
) -> Iterator[Cluster]:
    folder.mkdir(exist_ok=True)
    cluster = Cluster(folder, environment, host)
    try:
        cluster.start_scheduler()
        for _ in range(workers):
            cluster.start_worker()
        if workers:
            await_workers(cluster, workers)
        yield cluster
    finally:
        cluster.stop()


def keys_of(store: Store) -> dict[str, str]:
    keys = store.keys()
    return {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}


def await_workers(cluster: Cluster, count: int) -> None:
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=60)


def start_leader(
    machine: Machine, target: Target, source: Path, cluster: Cluster, *options: object, engine: str = "s5cmd"
) -> subprocess.Popen[str]:
    """A delivery by Dask in a process of its own, whose lease is short."""
    runner = ("--task-runner", "dask", "--task-runner-address", cluster.address, "--workers", 2, "--no-prefect")
    before = [sys.executable, short_lease.__file__]
    return machine.start(target, source, engine, *runner, *options, before=before)
