"""One command, measured from outside: wall time, CPU of the client and its children, peak memory of the tree."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import psutil

from benchmarks.cores import Tree


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds, and MB (10^6 bytes). `server`: the store's CPU meanwhile; `requests`: what it was asked.

    `leading`: CPU of all processes that run no batch, None where others do not show apart. `memory`: of the whole tree;
    `leader_memory`: of the command's own process; `process_memory`: of the largest other one.
    """

    wall: float
    cpu: float
    memory: float
    output: str
    leading: float | None = None
    leader_memory: float = 0.0
    process_memory: float = 0.0
    server: float = 0.0
    requests: int = 0


def measure(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Measured:
    """Runs it to its end. Raises `RuntimeError` with its last words where it fails: a peer that fails is no peer."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with TemporaryFile("w+") as words:
        began = time.monotonic()
        process = subprocess.Popen(
            [str(word) for word in command], env=dict(environment or os.environ), stdout=words,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        tree = Tree(process.pid)
        tree.watch()
        wall = time.monotonic() - began
        process.wait()
        words.seek(0)
        output = words.read()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {output[-500:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    leader, other = tree.leader_memory / 1e6, tree.process_memory / 1e6
    return Measured(wall, cpu, tree.memory / 1e6, output, tree.leading, leader, other)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """Median, and the range that was seen."""
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def machine() -> str:
    memory = psutil.virtual_memory().total / 1e9
    return f"{os.cpu_count()} cores, {memory:.0f} GB, Python {sys.version.split()[0]}"
