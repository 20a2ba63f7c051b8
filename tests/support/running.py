"""Runs of the command in a process of their own, as a machine of their own would have them: to be killed and frozen."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support.commanding import BY_PROCESSES, COMMAND
from tests.support.delivering import Target


@dataclass(frozen=True)
class Machine:
    """A home, a working folder and a scratch folder that no other run has.

    An s5cmd has a session of its own, and inherits the home: by that it is known, even where its parent has died.
    `by_processes`: batches are in processes of their own, as those of large deliveries are.
    """

    home: Path
    by_processes: bool = False

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
        self,
        target: Target,
        source: Path | str,
        engine: str,
        *more: object,
        before: list[str] | None = None,
        **env: str,
    ) -> subprocess.Popen[str]:
        """`before`: a command that becomes ours, such as a shell with limits."""
        command = [*(BY_PROCESSES if self.by_processes else (COMMAND,)), "deliver", source, "--dataset", target.dataset]
        return subprocess.Popen(
            [*(before or []), *map(str, [*command, "--transfer-engine", engine, *more])],
            cwd=self.home,
            env={**self.environment(target), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Where the tests run in the background of a shell, SIGINT comes down to us ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, target: Target, source: Path | str, engine: str, *more: object, **options: Any) -> Ended:
        process = self.start(target, source, engine, *more, **options)
        out, log = process.communicate(timeout=280)
        return Ended(process.returncode, out, log)

    def command(self, target: Target, name: str, *more: object, **env: str) -> Ended:
        """Another command than `deliver`, on the same data set."""
        done = subprocess.run(
            [COMMAND, name, "--dataset", target.dataset, *map(str, more)],
            cwd=self.home, env={**self.environment(target), **env}, capture_output=True, text=True, timeout=280,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr)

    def processes(self) -> list[psutil.Process]:
        """What runs in this home, and what that has started. One that is dead and not yet waited for has no home."""
        found: dict[int, psutil.Process] = {}
        for process in psutil.process_iter():
            try:
                if process.environ().get("HOME") == str(self.home):
                    found |= {each.pid: each for each in (process, *process.children(recursive=True))}
            except psutil.Error:
                continue
        return list(found.values())

    def left(self, seen: Sequence[psutil.Process] = (), seconds: float = 5.0) -> list[psutil.Process]:
        """What still runs of it when it should have ended; of those that were seen before, too."""
        deadline = time.monotonic() + seconds
        while True:
            left = [*self.processes(), *(process for process in seen if is_alive(process))]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.05)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def names(processes: Sequence[psutil.Process]) -> set[str]:
    found = set()
    for process in processes:
        with suppress(psutil.Error):
            found.add(process.name())
    return found


def run_watched(command: Sequence[object], environment: dict[str, str], folder: Path) -> tuple[Ended, int]:
    """The outcome, and the most memory that the process itself had, in MiB.

    By the kernel's own mark of it, which an exec resets: what a parent learns by getrusage begins with the parent's.
    """
    peak = 0
    with (folder / "out").open("w+") as out, (folder / "log").open("w+") as log:
        process = subprocess.Popen([*map(str, command)], env=environment, stdout=out, stderr=log)
        while process.poll() is None:
            with suppress(OSError):
                found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
                peak = max(peak, int(found[1]) // 1024 if found else 0)
            time.sleep(0.02)
        for file in (out, log):
            file.seek(0)
        return Ended(process.returncode, out.read(), log.read()), peak


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    log: str

    @property
    def message(self) -> str:
        """What the user reads at the end, where the run could not begin or go on."""
        return self.log[self.log.rindex("imagehaul: ") :].strip() if "imagehaul: " in self.log else ""
