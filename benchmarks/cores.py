"""The cores that a benchmark gives to client and server, and what the client's processes take of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_TICKS = os.sysconf("SC_CLK_TCK")
_BATCHES = "runners.worker_process"
"""Stands in the command of a process that works on batches."""
_LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Shares:
    """`client`: numbers of cores to measure with; `server`: the cores that it keeps to, empty where all are shared."""

    client: tuple[int, ...]
    server: frozenset[int]

    @property
    def counts(self) -> list[int]:
        """1, 2, 4, 8 and so on, and all of them."""
        most = len(self.client)
        return sorted({most, *(2**power for power in range(most.bit_length()) if 2**power <= most)})


def shares() -> Shares:
    """Half for each. With fewer than four cores there is not enough to part."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 4:
        return Shares(tuple(cores), frozenset())
    half = (len(cores) + 1) // 2
    return Shares(tuple(cores[:half]), frozenset(cores[half:]))


def pin(process: int, cores: frozenset[int]) -> None:
    """All threads that it has, twice over, since a new one takes after the thread that makes it."""
    for _ in range(2):
        for thread in Path(f"/proc/{process}/task").iterdir():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), cores)


@contextmanager
def confined(cores: Sequence[int]) -> Iterator[None]:
    """What this thread starts meanwhile keeps to these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass
class Tree:
    """A process and all below it, watched until it ends.

    `leading`: CPU seconds of all processes that run no batch; None where no other process runs batches, so that it
    cannot be told apart. `leader_memory`: the largest that the first process was, in bytes; `process_memory`: any
    other; `memory`: all of them together.
    """

    pid: int
    leading: float | None = None
    memory: int = 0
    leader_memory: int = 0
    process_memory: int = 0
    _helpers: dict[int, float] = field(default_factory=dict)
    _has_workers: bool = False

    def watch(self) -> None:
        """Blocks until the process ends, and leaves it to be waited for: its own CPU stands in `/proc` until then."""
        while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            with suppress(psutil.Error):
                self._look(psutil.Process(self.pid))
            time.sleep(_LOOK_SECONDS)
        if self._has_workers:
            self.leading = _own_seconds(self.pid) + sum(self._helpers.values())

    def _look(self, leader: psutil.Process) -> None:
        total = leader.memory_info().rss
        self.leader_memory = max(self.leader_memory, total)
        for child in leader.children():
            with suppress(psutil.Error):
                if any(_BATCHES in word for word in child.cmdline()):
                    self._has_workers = True
                else:
                    self._helpers[child.pid] = sum(child.cpu_times()[:4])
        for member in leader.children(recursive=True):
            with suppress(psutil.Error):
                size = member.memory_info().rss
                total += size
                self.process_memory = max(self.process_memory, size)
        self.memory = max(self.memory, total)


def _own_seconds(process: int) -> float:
    """User and system time of all its threads, without its children's. https://man7.org/linux/man-pages/man5/proc.5.html"""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
