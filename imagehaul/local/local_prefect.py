"""A Prefect server and a worker as children of this process, whose data and logs lie in one folder."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagehaul.child_process import start_bound
from imagehaul.errors import HaulError

START_SECONDS = 120.0
STOP_SECONDS = 20.0
"""A worker ends its runs first, and they their children."""

# Variables that say which server is meant, how it is reached and where it keeps its data; the older names too.
_ELSEWHERE = (
    "PREFECT_API_",
    "PREFECT_CLIENT_CUSTOM_HEADERS",
    "PREFECT_CLOUD_",
    "PREFECT_HOME",
    "PREFECT_LOCAL_STORAGE_PATH",
    "PREFECT_MEMO_STORE_PATH",
    "PREFECT_PROFILE",
    "PREFECT_RESULTS_LOCAL_STORAGE_PATH",
    "PREFECT_SERVER_API_",
    "PREFECT_SERVER_DATABASE_",
    "PREFECT_SERVER_UI_",
    "PREFECT_UI_",
)


@dataclass(frozen=True)
class Part:
    """One of the two, at work. `log`: what it said."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raises `HaulError` where it has ended."""
        if self.process.poll() is not None:
            raise HaulError(f"The Prefect {self.name} has ended by itself. Its log: {self.log}")


def own_environment(folder: Path) -> dict[str, str]:
    """Of a process whose Prefect keeps its data in this folder and is led to no other by a variable.

    What the user has set besides, such as PREFECT_LOGGING_LEVEL, holds here too. For the files `prefect.toml`,
    `pyproject.toml` and `.env`, which Prefect looks for where it is started, start it in the folder.
    """
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_ELSEWHERE)}
    return {**kept, "PREFECT_HOME": str(folder / "prefect")}


def prefect_environment(folder: Path, port: int) -> dict[str, str]:
    """A Prefect of its own at this port, wherever the machine's own is; nothing is reported to anybody."""
    return {
        **own_environment(folder),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        # Without it the UI looks for the API at port 4200, wherever it is.
        "PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }


@contextmanager
def prefect_server(folder: Path, listener: socket.socket, environment: Mapping[str, str]) -> Iterator[Part]:
    """Serves at this socket, and yields when it answers. Raises `HaulError` where it does not."""
    port = port_of(listener)
    # What `prefect server start` starts in a process below its own, which would outlive a kill.
    application = ["--factory", "prefect.server.api.server:create_app"]
    command = ["uvicorn", *application, "--fd", str(listener.fileno()), "--timeout-keep-alive", "5"]
    with _running("server", command, folder, environment, (listener.fileno(),)) as server:
        listener.close()  # It has its own, with which the port is given back.
        deadline = time.monotonic() + START_SECONDS
        while not _is_healthy(port):
            server.check()
            if time.monotonic() > deadline:
                raise HaulError(f"The Prefect server does not answer. Its log: {server.log}")
            time.sleep(0.2)
        yield server


@contextmanager
def prefect_worker(folder: Path, pool: str, environment: Mapping[str, str]) -> Iterator[Part]:
    """Runs flows of this pool in processes until the block ends. It may not have reached the server yet."""
    command = ["prefect", "worker", "start", "--pool", pool, "--type", "process", "--name", f"{pool} {os.getpid()}"]
    with _running("worker", command, folder, environment) as worker:
        yield worker


@contextmanager
def _running(
    name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str], descriptors: Sequence[int] = ()
) -> Iterator[Part]:
    path = folder / f"{name}.log"
    with path.open("wb") as log:
        process = start_bound(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=descriptors,
        )
    try:
        yield Part(name, process, path)
    finally:
        stop(process)


def stop(process: subprocess.Popen[Any]) -> None:
    """Asks it to end, and ends it where it does not."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/api/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def listening(wanted: int = 0) -> socket.socket:
    """At the wanted port, so that the address stays the same, or where it is taken at any other.

    From now on no other program gets the port: who answers there is who is given this socket.
    """
    for port in (wanted, 0):
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Connections inherit it. uvicorn, which takes a given socket for a UNIX one, does not set it.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError:
            listener.close()
            continue
        return listener
    raise HaulError("This machine has no free port.")


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def free_port(wanted: int = 0) -> int:
    """The wanted one or any other, for a program that listens by itself. Another may take it until it does."""
    with listening(wanted) as probe:
        return port_of(probe)
