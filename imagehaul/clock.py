"""When this process's command began. Imported before all that takes time."""

from __future__ import annotations

import time

ENTERED = time.monotonic()
_paused = 0.0


def seconds_since_entry() -> float:
    """Of this command, the start of a Prefect server apart."""
    return time.monotonic() - ENTERED - _paused


def leave_out(seconds: float) -> None:
    global _paused
    _paused += seconds
