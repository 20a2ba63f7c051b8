"""A Dask scheduler and workers as children of this process, each in a folder of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from imagehaul.child_process import start_bound
from imagehaul.errors import HaulError
from imagehaul.local.local_prefect import free_port, stop

START_SECONDS = 60.0


@contextmanager
def dask_cluster(folder: Path, workers: int, environment: Mapping[str, str]) -> Iterator[str]:
    """The scheduler's address. `environment`: of the workers; the scheduler gets none of it.

    Raises HaulError where it does not start; its log lies in `folder`.
    """
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    with ExitStack() as processes:
        options = ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
        scheduler = processes.enter_context(_running("scheduler", folder / "scheduler", options, {}))
        for number in range(1, workers + 1):
            home = folder / f"worker-{number}"
            (home / "tmp").mkdir(parents=True, exist_ok=True)
            own = {**environment, "HOME": str(home), "TMPDIR": str(home / "tmp")}
            options = [address, "--nthreads", "2", "--no-dashboard", "--name", f"worker-{number}"]
            processes.enter_context(_running("worker", home, options, own))
        _wait_for(address, workers, scheduler, folder)
        yield address


@contextmanager
def _running(
    kind: str, home: Path, options: list[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / "log").open("wb") as log:
        process = start_bound(
            [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options],
            cwd=home,
            env={"PATH": "/usr/bin:/bin", **environment},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        stop(process)


def _wait_for(address: str, workers: int, scheduler: subprocess.Popen[bytes], folder: Path) -> None:
    from distributed import Client

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and scheduler.poll() is None:
        try:
            with Client(address, timeout=5, set_as_default=False) as client:
                client.wait_for_workers(workers, timeout=max(1.0, deadline - time.monotonic()))
                return
        except OSError:  # It does not listen yet.
            time.sleep(0.2)
    raise HaulError(f"The Dask cluster did not start. Its logs: {folder}/*/log")
