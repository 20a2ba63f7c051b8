"""Servers that tests run beside themselves."""

from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imagehaul.child_process import start_bound


@dataclass(frozen=True)
class ServedStore:
    """An object store that answers at `url`, and its pair of keys."""

    url: str
    access_key: str
    secret_key: str


@contextmanager
def running(folder: Path, name: str, command: Sequence[str]) -> Iterator[None]:
    """The program until the block ends; what it says lies in `<folder>/<name>.out`. It ends with this process too."""
    with (folder / f"{name}.out").open("wb") as out:
        process = start_bound(command, stdout=out, stderr=out, cwd=folder)
        try:
            yield
        finally:
            process.kill()
            process.wait()


def wait_for_http(url: str, seconds: float) -> None:
    """Until something answers well at `url`. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise TimeoutError(f"Nothing answers at {url}.")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
