"""A run of a program that ends with ours, and what it says and writes meanwhile."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

_LOOK_SECONDS = 0.5
_LONGEST_LINE = 1024 * 1024


class BoundRun:
    """One run, in a process group of its own. Leaving the context kills what is left of it.

    `command`: as `imagehaul.child_process` gives it. `orders`: an open file that the program reads as its
    standard input.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], orders: IO[bytes] | None = None
    ) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=orders or subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The group's number is ours until the process has been waited for.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()

    def lines(self) -> Iterator[bytes | None]:
        """Each line of both outputs as it comes, and at least twice a second None: time to look at the clock."""
        looked = time.monotonic()
        with selectors.DefaultSelector() as selector:
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe:
                    selector.register(pipe, selectors.EVENT_READ, b"")
            while selector.get_map():
                for ready, _ in selector.select(_LOOK_SECONDS):
                    data = os.read(ready.fd, 65536)
                    *lines, rest = (ready.data + data).split(b"\n")
                    yield from lines
                    if not data or len(rest) > _LONGEST_LINE:
                        yield rest
                        rest = b""
                    if data:
                        selector.modify(ready.fileobj, selectors.EVENT_READ, rest)
                    else:
                        selector.unregister(ready.fileobj)
                if time.monotonic() - looked > _LOOK_SECONDS:
                    looked = time.monotonic()
                    yield None

    def bytes_written(self) -> int | None:
        """By this process so far, to files and connections alike; None where the system does not show it."""
        try:
            text = Path(f"/proc/{self._process.pid}/io").read_text("ascii")
        except OSError:
            return None
        found = re.search(r"^wchar: (\d+)$", text, re.MULTILINE)
        return int(found[1]) if found else None
