"""A program that sends is listened to: until its end, its word that all is lost, or its silence."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from imagehaul.records import SendResult
from imagehaul.store.retry import StallMonitor
from imagehaul.transfer.program_output import listen
from imagehaul.transfer.program_run import BoundRun


@dataclass
class Words:
    """A report that takes each line for a key, `stop` for the end of all, and `done` for the end of the work."""

    lines: list[str] = field(default_factory=list)
    stopped: bool = False
    done: bool = False

    def read(self, line: bytes) -> SendResult | None:
        word = line.decode()
        self.lines += [word] if word else []
        self.stopped = self.stopped or word == "stop"
        self.done = self.done or word == "done"
        return SendResult(word, "sent") if word else None


def listened(script: str, folder: Path, stall_seconds: float = 10.0) -> tuple[list[str], float]:
    """What was heard of a program in Python, and how many seconds it took."""
    words, began = Words(), time.monotonic()
    with BoundRun([sys.executable, "-c", f"import time\n{script}"], folder, dict(os.environ)) as run:
        listen(run, words, StallMonitor(threading.Event(), stall_seconds, refusals=8))
    return words.lines, time.monotonic() - began


def test_all_that_it_says_is_read_to_its_end(tmp_path: Path) -> None:
    lines, _ = listened("print('a'); print('b', flush=True); time.sleep(0.7); print('c')", tmp_path)
    assert lines == ["a", "b", "c"]


def test_when_all_is_lost_it_is_not_waited_for(tmp_path: Path) -> None:
    lines, seconds = listened("print('a'); print('stop'); print('b', flush=True); time.sleep(60)", tmp_path)
    assert lines == ["a", "stop"]
    assert seconds < 10


def test_one_that_has_done_its_work_may_stay(tmp_path: Path) -> None:
    lines, seconds = listened("print('a'); print('done', flush=True); time.sleep(60)", tmp_path)
    assert lines == ["a", "done"]
    assert seconds < 10


def test_one_that_says_and_sends_nothing_is_given_up(tmp_path: Path) -> None:
    lines, seconds = listened("print('a', flush=True); time.sleep(60)", tmp_path, stall_seconds=1.0)
    assert lines == ["a"]
    assert 1.0 <= seconds < 10


def test_one_that_says_nothing_and_sends_is_waited_for(tmp_path: Path) -> None:
    script = """
with open("/dev/null", "wb", 0) as line:
    for _ in range(8):
        time.sleep(0.3)
        line.write(bytes(2_000_000))
print("a")
"""
    lines, seconds = listened(script, tmp_path, stall_seconds=1.0)
    assert lines == ["a"]
    assert seconds > 2.4
