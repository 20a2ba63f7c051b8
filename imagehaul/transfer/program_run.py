"""A program that ends with ours, and what it says and writes meanwhile."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from imagehaul.child_process import start_kept

_LOOK_SECONDS = 0.5
_GATHER_SECONDS = 0.01
"""What comes within this time is read at once. To be woken for each line is seven to nine percent of a delivery's CPU:
benchmarks/cores.md."""
_LONGEST_LINE = 1024 * 1024


class Program:
    """A program at work, whoever started it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def lines(self) -> Iterator[bytes | None]:
        """Each line of both outputs as it comes, and at least twice a second None: time to look at the clock."""
        looked = time.monotonic()
        rests = {pipe.fileno(): b"" for pipe in (self._process.stdout, self._process.stderr) if pipe}
        # The system's own call: what `selectors` adds takes as long as all else that is done for a line.
        poll = select.poll()
        for descriptor in rests:
            poll.register(descriptor, select.POLLIN)
        while rests:
            heard = False
            for descriptor, _ in poll.poll(1000 * _LOOK_SECONDS):
                data = os.read(descriptor, 65536)
                *lines, rest = (rests[descriptor] + data).split(b"\n")
                yield from lines
                heard = heard or bool(lines)
                if not data or len(rest) > _LONGEST_LINE:
                    yield rest
                    rest = b""
                rests[descriptor] = rest
                if not data:
                    poll.unregister(descriptor)
                    del rests[descriptor]
            if heard:
                time.sleep(_GATHER_SECONDS)
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


class BoundRun(Program):
    """One run, in a process group of its own. Leaving the context kills what is left of it.

    `command`: as `imagehaul.child_process` gives it.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        super().__init__(
            subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
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


class StandingProgram(Program):
    """One that takes orders until it is ended, and whose start is paid once. It starts no other program.

    `command`: as `imagehaul.child_process` gives it.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        super().__init__(start_kept(command, env=environment, **pipes))

    def order(self, file: Path) -> None:
        """Names the file with the next orders. A line is short enough for one that reads none to keep nobody waiting.

        In hex, since a folder's name may hold a line break. Raises OSError where it has ended.
        """
        assert self._process.stdin
        self._process.stdin.write(os.fsencode(file).hex().encode() + b"\n")
        self._process.stdin.flush()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            # What it did not live to read is still in the pipe's buffer.
            with suppress(BrokenPipeError):
                if pipe:
                    pipe.close()
