"""A command that is run before the user's eyes, and that can tidy up where Ctrl-C ends what runs it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

from imagehaul.child_process import start_bound

STOP_SECONDS = 20.0
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_as_by_ctrl_c() -> None:
    """A terminal that is closed and a `kill` interrupt this process as Ctrl-C does."""
    for number in _ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:  # As nohup leaves the last, and a shell's background the first.
            signal.signal(number, _interrupt)


def run_to_end(command: Sequence[str], **options: Any) -> int:
    """Its exit status; `options` are those of `subprocess.Popen`. Interrupted, it ends the command and what that left.

    `subprocess.run` would kill the command a quarter of a second after Ctrl-C, and what it has started would stay.
    """
    # In a session of its own Ctrl-C reaches it once, from here, and not the servers that it needs while it tidies up.
    process = start_bound(command, **options)
    try:
        return process.wait()
    except KeyboardInterrupt:
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)  # A second one would break off the end.
        # It ends a command of ours as SIGINT does, and one whose interpreter still starts without a traceback.
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        raise
    finally:
        with suppress(ProcessLookupError, PermissionError):  # The second: nothing but a dead process, says macOS.
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
