"""How the program's own processes import Arrow: without what they do not use.

In a process that is not its own, such as a flow of somebody else's, Arrow is imported as it comes.
"""

from __future__ import annotations

import os
import sys
from typing import Any, cast

_own_process: list[bool] = []


def keep_arrow_small() -> None:
    """Says that this process is the program's own. To be called before anything imports Arrow.

    Arrow's own allocator keeps 20 MB that nothing uses any more.
    https://arrow.apache.org/docs/cpp/env_vars.html#envvar-ARROW_DEFAULT_MEMORY_POOL
    """
    _own_process.append(True)
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


def import_arrow() -> None:
    """The first import. Arrow takes NumPy along where it finds it: half of its time and 11 MB, and used by nothing."""
    if "pyarrow" in sys.modules or not _own_process:
        return
    numpy = sys.modules.setdefault("numpy", cast(Any, None))
    try:
        import pyarrow  # noqa: F401
    finally:
        if numpy is None:
            del sys.modules["numpy"]
