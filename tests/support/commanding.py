"""The command, called in this process as its own would: the same environment, folder, output and exit status."""

from __future__ import annotations

import io
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from imagehaul.cli.command import main


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
