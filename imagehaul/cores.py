"""How many processor cores this process may use: fewer than the machine has, in a container for instance."""

from __future__ import annotations

import os
from pathlib import Path


def usable_cores() -> int:
    """By the machine, by its affinity, and by a container's quota, rounded up.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return cores if quota == "max" else max(1, min(cores, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        return cores
