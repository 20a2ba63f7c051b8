"""A program that we run: heard line by line, and ended with us."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from imagehaul import child_process
from imagehaul.child_process import bound
from imagehaul.transfer.program_run import BoundRun


def read(run: BoundRun) -> list[bytes]:
    return [line for line in run.lines() if line]


def test_lines_of_both_outputs_come_whole(tmp_path: Path) -> None:
    script = "printf 'one\\ntw'; sleep 0.2; printf 'o\\n'; echo three >&2; printf 'no end'"
    with BoundRun(bound(["/bin/sh", "-c", script]), tmp_path, {}) as run:
        assert sorted(read(run)) == [b"no end", b"one", b"three", b"two"]


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    with BoundRun(bound(["/bin/sh", "-c", "head -c 5000000 /dev/zero"]), tmp_path, {"PATH": "/usr/bin:/bin"}) as run:
        pieces = read(run)

    assert sum(map(len, pieces)) == 5_000_000
    assert max(map(len, pieces)) < 1_200_000


def test_lines_of_a_busy_program_are_read_several_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[bytes] = []
    read_once = os.read

    def counted(descriptor: int, size: int) -> bytes:
        reads.append(read_once(descriptor, size))
        return reads[-1]

    monkeypatch.setattr("imagehaul.transfer.program_run.os.read", counted)
    script = "import time\nfor number in range(400): print(number, flush=True); time.sleep(0.001)"
    with BoundRun(bound([sys.executable, "-c", script]), tmp_path, {}) as run:
        assert [int(line) for line in run.lines() if line] == list(range(400))
    assert len(reads) < 200


def test_a_silent_program_gives_time_to_look_at_the_clock(tmp_path: Path) -> None:
    with BoundRun(bound(["/bin/sleep", "60"]), tmp_path, {}) as run:
        began = time.monotonic()
        assert next(run.lines()) is None
        assert time.monotonic() - began < 10


def test_bytes_written_are_seen_while_it_works(tmp_path: Path) -> None:
    script = "import os, time\nwith open(os.devnull, 'wb', 0) as out: out.write(bytes(3_000_000))\ntime.sleep(60)"
    with BoundRun(bound([sys.executable, "-c", script]), tmp_path, {}) as run:
        seen = (run.bytes_written() or 0 for _ in itertools.islice(run.lines(), 20))
        assert any(written >= 3_000_000 for written in seen)


def test_leaving_ends_the_program_and_what_it_started(tmp_path: Path) -> None:
    with BoundRun(bound(["/bin/sh", "-c", "sleep 61 & echo $!; sleep 62"]), tmp_path, {"PATH": "/usr/bin:/bin"}) as run:
        grandchild = int(next(line for line in run.lines() if line))
        assert psutil.pid_exists(grandchild)

    deadline = time.monotonic() + 5
    while psutil.pid_exists(grandchild) and psutil.Process(grandchild).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


BOTH_WAYS = pytest.mark.parametrize("by_setpriv", [True, False], ids=["by setpriv", "by Python"])
"""Where the system has no setpriv, Python does the same."""


@BOTH_WAYS
def test_the_program_dies_with_a_run_that_is_killed(by_setpriv: bool) -> None:
    script = f"""
        import sys, threading
        from pathlib import Path
        from imagehaul import child_process
        from imagehaul.child_process import bound
        from imagehaul.transfer.program_run import BoundRun
        child_process._has_setpriv = lambda: {by_setpriv}
        def work():
            with BoundRun(bound(["/bin/sleep", "60"]), Path("/"), {{}}) as run:
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
    with BoundRun(bound([str(tmp_path / "nothing")]), tmp_path, {}) as run:
        assert re.search(rb"not found|FileNotFoundError", b"".join(read(run)))


@BOTH_WAYS
def test_a_program_whose_parent_has_died_by_then_is_not_begun(
    by_setpriv: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_process, "_has_setpriv", lambda: by_setpriv)
    command = bound(["/bin/echo", "begun"])
    assert subprocess.run(command, capture_output=True).stdout == b"begun\n"
    orphan = subprocess.run(["/bin/sh", "-c", '"$@"; echo $?', "sh", *command], capture_output=True)
    assert (orphan.stdout, orphan.stderr) == (b"1\n", b"")
