"""What goes wrong in a process for batches, or between it and the leader, keeps nobody waiting."""

from __future__ import annotations

import errno
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from imagehaul.child_process import start_bound_python
from imagehaul.delivery.runners import process_handle, worker_process
from imagehaul.delivery.runners.process_handle import WorkerProcess
from imagehaul.delivery.runners.runner import WorkerLostError


class Panic(BaseException):
    """As the panics of a library in Rust: no Exception, and of a class that cannot be pickled."""


class Opened:
    """A worker whose batches all end in one way."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def run(self, job: object) -> object:
        raise self.error


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (Panic("called unwrap on an Err"), RuntimeError, "Panic: called unwrap on an Err"),
        (SystemExit("a library's"), RuntimeError, "SystemExit: a library's"),
        (OSError(errno.ENOSPC, "No space left"), OSError, "No space left"),
    ],
)
def test_whatever_ends_a_batch_is_answered(error: BaseException, raised: type[Exception], words: str) -> None:
    answers: list[Any] = []
    worker_process._run(Opened(error), 7, None, lambda *said: answers.append(said))  # type: ignore[arg-type]
    [(how, ticket, answer)] = answers
    assert (how, ticket, type(answer)) == ("failed", 7, raised)
    assert words in str(answer)


def test_an_answer_that_nobody_can_read_is_the_end_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import sys\n"
        "sys.stdin.buffer.read(1)\n"
        "sys.stdout.buffer.write(b'cnowhere_at_all\\nNothing\\n.')\n"
        "sys.stdout.buffer.flush()\n"
        "sys.stdin.buffer.read()\n"
    )
    monkeypatch.setattr(process_handle, "start_bound_python", lambda _, path, **_how: start_bound_python(program, path))
    with (tmp_path / "lease").open("wb") as lease:
        process = WorkerProcess(lease.fileno())
        try:
            waiting: Future[Any] = process.submit("a job")  # type: ignore[arg-type]
            with pytest.raises(WorkerLostError, match=r"could not be read .*nowhere_at_all"):
                waiting.result(timeout=20)
            assert not process.is_alive
        finally:
            began = time.monotonic()
            process.end()
    assert time.monotonic() - began < process_handle.END_SECONDS
