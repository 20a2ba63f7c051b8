"""How Arrow is imported: small in the program's own processes, and as it comes in those of others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

LOOK = """
import json, sys
import imagehaul.arrow
{first}
imagehaul.arrow.import_arrow()
import pyarrow
found = [name in sys.modules for name in ("pyarrow", "numpy")] + [pyarrow.default_memory_pool().backend_name]
import numpy
print(json.dumps([*found, numpy.arange(3).sum().item()]))
"""


def seen(first: str) -> list[Any]:
    """Whether Arrow and NumPy were imported, where Arrow takes its memory from, and a sum that NumPy made."""
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    program = [sys.executable, "-c", LOOK.format(first=first)]
    found: list[Any] = json.loads(subprocess.check_output(program, env=environment))
    return found


def test_a_process_of_our_own_has_arrow_without_numpy_and_can_still_import_it() -> None:
    assert seen("imagehaul.arrow.keep_arrow_small()") == [True, False, "system", 3]


def test_a_process_of_somebody_else_has_arrow_as_it_comes() -> None:
    arrow, numpy, pool, _ = seen("")
    assert (arrow, numpy) == (True, True)
    assert pool != "system"
