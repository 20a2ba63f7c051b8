"""Runs of the command in a process of their own, as a machine of their own would have them: to be killed and frozen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from delivering import Target

IMAGEHAUL = Path(sys.executable).with_name("imagehaul")


@dataclass(frozen=True)
class Machine:
    """A home, a working folder and a scratch folder that no other run has.

    All that a run starts inherits the home, an s5cmd in a session of its own too: by that it is known.
    """

    home: Path

    def __post_init__(self) -> None:
        self.scratch.mkdir(parents=True, exist_ok=True)

    @property
    def scratch(self) -> Path:
        return self.home / "scratch"

    def environment(self, target: Target) -> dict[str, str]:
        keys = target.store.keys()
        return {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "TMPDIR": str(self.scratch),
            "OBJECT_STORE_URL": target.store.url, "REMOTE_SAVE": f"s3://{target.bucket}/{target.prefix}",
            "AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            **({"AWS_SESSION_TOKEN": keys.session_token} if keys.session_token else {}),
        }  # fmt: skip

    def start(
        self, target: Target, source: Path | str, lane: str, *more: object, before: list[str] | None = None, **env: str
    ) -> subprocess.Popen[str]:
        """`before`: a command that becomes ours, such as a shell with limits."""
        command = [IMAGEHAUL, "deliver", source, "--dataset", target.dataset]
        return subprocess.Popen(
            [*(before or []), *map(str, [*command, "--use-s5cmd-when-available", lane == "s5cmd", *more])],
            cwd=self.home,
            env={**self.environment(target), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Where the tests run in the background of a shell, SIGINT comes down to us ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, target: Target, source: Path | str, lane: str, *more: object, **options: Any) -> Ended:
        process = self.start(target, source, lane, *more, **options)
        out, log = process.communicate(timeout=280)
        return Ended(process.returncode, out, log)

    def processes(self) -> dict[int, str]:
        """What runs in this home: process numbers and names. One that is dead and not yet buried has no home."""
        mark, found = str(self.home), {}
        for process in psutil.process_iter(["name"]):
            try:
                if process.environ().get("HOME") == mark:
                    found[process.pid] = process.info["name"]
            except psutil.Error:
                continue
        return found

    def left(self, seconds: float = 5.0) -> dict[int, str]:
        """What still runs in this home when it should have ended."""
        deadline = time.monotonic() + seconds
        while (found := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    log: str

    @property
    def message(self) -> str:
        """What the user reads at the end, where the run could not begin or go on."""
        return self.log[self.log.rindex("imagehaul: ") :].strip() if "imagehaul: " in self.log else ""
