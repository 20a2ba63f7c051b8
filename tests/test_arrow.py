"""How Arrow is imported: small in the program's own processes, and as it comes in those of others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import imagehaul.arrow

LOOK = """
import json, sys
import imagehaul.arrow
{first}
from imagehaul.arrow import pa, pc, pq
counted = pc.sum(pa.array([1, 2])).as_py()
found = [counted, "numpy" in sys.modules, pa.default_memory_pool().backend_name]
import numpy
print(json.dumps([*found, numpy.arange(3).sum().item()]))
"""


def seen(first: str) -> list[Any]:
    """A sum by Arrow, whether NumPy was imported, where Arrow takes its memory from, and a sum by NumPy."""
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    program = [sys.executable, "-c", LOOK.format(first=first)]
    found: list[Any] = json.loads(subprocess.check_output(program, env=environment))
    return found


def test_a_process_of_our_own_has_arrow_without_numpy_and_can_still_import_it() -> None:
    assert seen("imagehaul.arrow.keep_arrow_small()") == [3, False, "system", 3]


def test_a_process_of_somebody_else_has_arrow_as_it_comes() -> None:
    counted, numpy, pool, _ = seen("")
    assert (counted, numpy) == (3, True)
    assert pool != "system"


def test_there_is_nothing_else_in_it() -> None:
    assert not hasattr(imagehaul.arrow, "pandas")
