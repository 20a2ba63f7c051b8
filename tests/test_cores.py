"""How many cores this process may use."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from imagehaul.cores import usable_cores


def test_no_more_than_the_machine_has() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system knows no affinity")
def test_an_affinity_counts() -> None:
    program = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
    program += "from imagehaul.cores import usable_cores; print(usable_cores())"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "1"
