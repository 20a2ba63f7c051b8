"""The program s5cmd: found, judged by its version, and ended with us."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from flows.s5cmd import S5cmdRun, S5cmdUnusableError, find_s5cmd

REAL = find_s5cmd().binary


def program(folder: Path, script: str) -> Path:
    """A file that may be run; `script` without `#!` makes one that the system takes for a broken program."""
    file = folder / "s5cmd"
    file.write_text(script)
    file.chmod(0o755)
    return file


@pytest.fixture
def only_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package is not installed, and the PATH has this folder alone."""
    monkeypatch.setattr("flows.s5cmd.files", lambda _: None)
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_the_package_s_own_binary_is_found_and_not_the_script_that_starts_it() -> None:
    assert REAL.read_bytes()[:4] == b"\x7fELF"
    assert find_s5cmd().version.startswith("v2.")


def test_one_on_the_path_is_found_where_the_package_is_missing(only_on_path: Path) -> None:
    (only_on_path / "s5cmd").symlink_to(REAL)

    assert find_s5cmd().binary == REAL


def test_behind_the_script_of_another_environment_its_binary_is_found(only_on_path: Path, tmp_path: Path) -> None:
    environment = tmp_path / "other"
    inside = environment / "lib/python3.12/site-packages/s5cmd/bin"
    inside.mkdir(parents=True)
    (inside / "s5cmd").symlink_to(REAL)
    (environment / "bin").mkdir()
    (only_on_path / "s5cmd").symlink_to(program(environment / "bin", "#!/usr/bin/env python3\n"))

    assert find_s5cmd().binary == inside / "s5cmd"


def test_no_s5cmd_at_all_is_said(only_on_path: Path) -> None:
    with pytest.raises(S5cmdUnusableError, match="no s5cmd is installed"):
        find_s5cmd()


def test_a_script_is_refused_since_its_end_would_leave_the_program_running(only_on_path: Path) -> None:
    program(only_on_path, "#!/bin/sh\necho v2.3.0\n")

    with pytest.raises(S5cmdUnusableError, match="is a script"):
        find_s5cmd()


def test_a_file_that_does_not_run_is_said(only_on_path: Path) -> None:
    program(only_on_path, "\x7fELF, but not really")

    with pytest.raises(S5cmdUnusableError, match="does not run"):
        find_s5cmd()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("v2.2.2-48f7e59", ""),
        ("v3.0.0", ""),
        ("v10.1.0", ""),
        ("v2.1.0", "is v2.1.0, and v2.2 or newer is needed"),
        ("v1.4.0-d7a0dda", "is v1.4.0-d7a0dda, and v2.2"),
        ("s5cmd, I believe", "does not say its version"),
        ("", "does not say its version"),
    ],
)
def test_the_version_decides(only_on_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, reason: str) -> None:
    """`true` and `echo` are programs; what they say in s5cmd's place is put into their mouth."""
    (only_on_path / "s5cmd").symlink_to("/bin/true")
    said = subprocess.CompletedProcess[str]([], 0, stdout=words + "\n")
    monkeypatch.setattr("flows.s5cmd.subprocess.run", lambda *_, **__: said)

    if reason:
        with pytest.raises(S5cmdUnusableError, match=reason):
            find_s5cmd()
    else:
        assert find_s5cmd().version == words


def read(run: S5cmdRun) -> list[bytes]:
    return [line for line in run.lines() if line]


def test_lines_of_both_outputs_come_whole(tmp_path: Path) -> None:
    script = "printf 'one\\ntw'; sleep 0.2; printf 'o\\n'; echo three >&2; printf 'no end'"
    with S5cmdRun(["/bin/sh", "-c", script], tmp_path, {}) as run:
        assert sorted(read(run)) == [b"no end", b"one", b"three", b"two"]


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    with S5cmdRun(["/bin/sh", "-c", "head -c 5000000 /dev/zero"], tmp_path, {"PATH": "/usr/bin:/bin"}) as run:
        pieces = read(run)

    assert sum(map(len, pieces)) == 5_000_000
    assert max(map(len, pieces)) < 1_200_000


def test_a_silent_program_gives_time_to_look_at_the_clock(tmp_path: Path) -> None:
    with S5cmdRun(["/bin/sleep", "60"], tmp_path, {}) as run:
        began = time.monotonic()
        assert next(run.lines()) is None
        assert time.monotonic() - began < 2


def test_bytes_written_are_seen_while_it_works(tmp_path: Path) -> None:
    script = "import os, time\nwith open(os.devnull, 'wb', 0) as out: out.write(bytes(3_000_000))\ntime.sleep(60)"
    with S5cmdRun([sys.executable, "-c", script], tmp_path, {}) as run:
        seen = (run.bytes_written() or 0 for _ in itertools.islice(run.lines(), 20))
        assert any(written >= 3_000_000 for written in seen)


def test_leaving_ends_the_program_and_what_it_started(tmp_path: Path) -> None:
    with S5cmdRun(["/bin/sh", "-c", "sleep 61 & echo $!; sleep 62"], tmp_path, {"PATH": "/usr/bin:/bin"}) as run:
        grandchild = int(next(line for line in run.lines() if line))
        assert psutil.pid_exists(grandchild)

    deadline = time.monotonic() + 5
    while psutil.pid_exists(grandchild) and psutil.Process(grandchild).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_program_dies_with_a_run_that_is_killed(tmp_path: Path) -> None:
    script = """
        import sys, threading
        from pathlib import Path
        from flows.s5cmd import S5cmdRun
        def work():
            with S5cmdRun(["/bin/sleep", "60"], Path("/"), {}) as run:
                print(run._process.pid, flush=True)
                list(run.lines())
        threading.Thread(target=work).start()
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE) as ours:
        assert ours.stdout
        sleeper = psutil.Process(int(ours.stdout.readline()))
        while sleeper.name() != "sleep":
            time.sleep(0.01)
        os.kill(ours.pid, signal.SIGKILL)
        ours.wait()

    _, alive = psutil.wait_procs([sleeper], timeout=5)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_a_program_that_is_not_there_says_so_by_its_output(tmp_path: Path) -> None:
    with S5cmdRun([str(tmp_path / "nothing")], tmp_path, {}) as run:
        assert b"FileNotFoundError" in b"".join(read(run))
