"""One command, measured from outside: wall time, CPU of the client and its children, peak memory of the tree."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds, and MB (10^6 bytes). `server`: the store's CPU meanwhile; `requests`: what it was asked."""

    wall: float
    cpu: float
    memory: float
    output: str
    server: float = 0.0
    requests: int = 0


def measure(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Measured:
    """Runs it to its end. Raises `RuntimeError` with its last words where it fails: a peer that fails is no peer."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in command], env=dict(environment or os.environ), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    peak = [0]
    watch = threading.Thread(target=_watch_memory, args=(process, peak), daemon=True)
    watch.start()
    output, _ = process.communicate()
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    watch.join()
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {output[-500:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(wall, cpu, peak[0] / 1e6, output)


def _watch_memory(process: subprocess.Popen[str], peak: list[int]) -> None:
    try:
        tree = psutil.Process(process.pid)
        while process.poll() is None:
            total = 0
            for member in [tree, *tree.children(recursive=True)]:
                try:
                    total += member.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peak[0] = max(peak[0], total)
            time.sleep(0.05)
    except psutil.NoSuchProcess:
        return


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """Median, and the range that was seen."""
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def machine() -> str:
    memory = psutil.virtual_memory().total / 1e9
    return f"{os.cpu_count()} cores, {memory:.0f} GB, Python {sys.version.split()[0]}"
