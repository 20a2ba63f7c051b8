"""Arrow, for the whole package: `from imagehaul.arrow import pa`, where it is used, since its import takes time.

The program's own processes take it without what they do not use. In a process that is not its own, such as a flow of
somebody else's, Arrow is imported as it comes.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

__all__ = ["keep_arrow_small", "pa", "pc", "pq"]

_MODULES = {"pa": "pyarrow", "pc": "pyarrow.compute", "pq": "pyarrow.parquet"}

_own_process: list[bool] = []
_importing = threading.Lock()


def keep_arrow_small() -> None:
    """Says that this process is the program's own. To be called before anything imports Arrow.

    Arrow's own allocator keeps 20 MB that nothing uses any more.
    https://arrow.apache.org/docs/cpp/env_vars.html#envvar-ARROW_DEFAULT_MEMORY_POOL
    """
    _own_process.append(True)
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


def __getattr__(name: str) -> ModuleType:
    """Imports it. Arrow takes NumPy along where it finds it, and we use nothing of it: half of the time, 11 MB, and
    for each core a thread of OpenBLAS, which spins for 60 ms."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not _own_process or _MODULES[name] in sys.modules:
        return importlib.import_module(_MODULES[name])
    with _importing:
        numpy = sys.modules.setdefault("numpy", cast(Any, None))
        try:
            return importlib.import_module(_MODULES[name])
        finally:
            if numpy is None:
                del sys.modules["numpy"]
