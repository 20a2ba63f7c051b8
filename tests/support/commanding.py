"""The command, called in this process as its own would, or in a process of its own; and what it said."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

from imagehaul.cli.command import main

COMMAND = Path(sys.executable).with_name("imagehaul")
BY_PROCESSES = (sys.executable, "-I", Path(__file__).with_name("by_processes.py"))
"""The same, with batches in processes however few they are."""


def imagehaul(
    *arguments: object, environment: Mapping[str, str], folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """What it takes a process of its own to see (signals, imports, the clock, a terminal) is not seen here."""
    out, error = io.StringIO(), io.StringIO()
    tokens = [str(argument) for argument in arguments]
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        with (
            patch.dict(os.environ, environment, clear=True),
            chdir(folder or Path.cwd()),
            redirect_stdout(out),
            redirect_stderr(error),
        ):
            status = main(tokens)
    finally:
        signal.signal(signal.SIGTERM, on_terminate)
    return subprocess.CompletedProcess(tokens, status, out.getvalue(), error.getvalue())


def in_a_process(
    *arguments: object, environment: dict[str, str], folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """As the installed command is; the others are called in this process, which sees the same and is quicker."""
    return subprocess.run(
        [COMMAND, *map(str, arguments)], env=environment, cwd=folder, capture_output=True, text=True, timeout=120
    )


def refused(done: subprocess.CompletedProcess[str], status: int) -> str:
    """The message: one to three lines beside the log, and no traceback."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    message = done.stderr[done.stderr.index("imagehaul: ") :].strip()
    assert len(message.splitlines()) <= 4
    return message


def last_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return dict(json.loads(done.stdout.splitlines()[-1]))
