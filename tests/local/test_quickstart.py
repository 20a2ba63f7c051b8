"""`make run`: which Prefect it keeps to, and how it ends where it is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from imagehaul.local import quickstart
from imagehaul.local.foreground import run_to_end

ELSEWHERE = "http://prod.example:4200/api"
SHOW = """
from prefect.settings import get_current_settings
settings = get_current_settings()
database = settings.server.database
print(settings.api.url, settings.server.ephemeral.enabled, database.connection_url.get_secret_value())
"""


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def make_run(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """In a group of its own, as a shell starts it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "imagehaul.local.quickstart", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Where the tests run in the background of a shell, SIGINT comes down to us ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.terminate()  # It ends what it has started.
        process.communicate()


def test_it_keeps_to_a_prefect_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says, or a file of the project that it is started in."""
    project, state = tmp_path / "project", tmp_path / "state"
    project.mkdir()
    (project / "profiles.toml").write_text(f'active = "prod"\n[profiles.prod]\nPREFECT_API_URL = "{ELSEWHERE}"\n')
    (project / "prefect.toml").write_text(f'[api]\nurl = "{ELSEWHERE}"\n')
    (project / ".env").write_text(f"PREFECT_API_URL={ELSEWHERE}\n")
    (state / "sample").mkdir(parents=True)
    monkeypatch.chdir(project)
    for name, value in {
        "PREFECT_API_URL": ELSEWHERE,
        "PREFECT_PROFILES_PATH": str(project / "profiles.toml"),
        "PREFECT_PROFILE": "prod",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://u:p@prod.example/prefect",
        "PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://u:p@prod.example/prefect",
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    }.items():
        monkeypatch.setenv(name, value)
    shown: list[str] = []

    def show(_: list[str], **options: Any) -> int:
        shown.append(subprocess.check_output([sys.executable, "-c", SHOW], text=True, **options))
        return 1

    monkeypatch.setattr(quickstart, "run_to_end", show)
    assert quickstart.main(state) == 1
    assert shown[0].split() == ["None", "True", f"sqlite+aiosqlite:///{state}/prefect/prefect.db"]


@pytest.mark.prefect
@pytest.mark.slow
@pytest.mark.parametrize("to", ["its leader", "all of its group"])
def test_ctrl_c_during_the_delivery_leaves_no_process_and_no_traceback(to: str, tmp_path: Path) -> None:
    with make_run(tmp_path) as process:
        assert process.stdout
        before = ""
        while "Listing" not in before:
            line = process.stdout.readline()
            assert line, before
            before += line
        below = psutil.Process(process.pid).children(recursive=True)
        assert any("uvicorn" in part for each in below for part in each.cmdline())
        (os.kill if to == "its leader" else os.killpg)(process.pid, signal.SIGINT)
        after, _ = process.communicate(timeout=60)
    assert not psutil.wait_procs(below, timeout=10)[1]
    assert process.returncode == 1
    *_, delivery, last = after.splitlines()
    assert delivery == "imagehaul: Interrupted. What was proven stays; run again to go on from there."
    assert last.startswith("Interrupted: ")
    assert "Traceback" not in after


def test_ctrl_c_at_any_moment_of_the_start_shows_no_traceback(tmp_path: Path) -> None:
    """The sample is drawn by a command of its own, whose interpreter takes a tenth of a second to start."""
    for tenths in range(1, 6):
        with make_run(tmp_path / str(tenths)) as process:
            children: list[psutil.Process] = []
            while not (children := psutil.Process(process.pid).children(recursive=True)):
                time.sleep(0.01)
            time.sleep(tenths / 10)
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=60)
        assert "Traceback" not in said
        assert said.splitlines()[-1].startswith("Interrupted: ")
        assert not psutil.wait_procs(children, timeout=10)[1]


def test_a_command_that_does_not_end_is_killed_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagehaul.local.foreground.STOP_SECONDS", 0.5)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    deaf = "trap '' TERM; sleep 60 & echo $! $$ >pids; sleep 0.5; kill -INT $PPID; wait; wait; sleep 60"
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_to_end(["/bin/sh", "-c", deaf], cwd=tmp_path)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    deadline = time.monotonic() + 10
    for pid in (tmp_path / "pids").read_text().split():
        while is_running(int(pid)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
