"""Whether the holder of a lock is still there."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from imagehaul.ledger import lock_object
from imagehaul.ledger.lock_object import Holder


@pytest.mark.parametrize("others", [False, True], ids=["ours", "another user's"])
def test_a_process_that_the_system_hides_is_not_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: bool
) -> None:
    """As /proc with hidepid=2 shows the processes of other users: not at all."""
    plain = os.kill

    def kill(pid: int, number: int) -> None:
        plain(pid, number)
        if others and number == 0:
            raise PermissionError

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        holder = replace(Holder.of_this_process("a run", 60.0), pid=process.pid, born=lock_object._born(process.pid))
        assert not holder.is_dead
        assert replace(holder, born="1").is_dead, "a process that got the number of a dead one"
        monkeypatch.setattr(lock_object, "_PROCESSES", tmp_path)
        monkeypatch.setattr(os, "kill", kill)
        assert not holder.is_dead
        process.kill()
        process.wait()
        assert holder.is_dead
    assert replace(holder, pid=2**70).is_dead, "no process has such a number"
