"""How a program that sends in our place is listened to, until it has done it, has ended, or there is no hope left."""

from __future__ import annotations

from typing import Protocol

from imagehaul.records import SendResult
from imagehaul.store.retry import StallMonitor
from imagehaul.transfer.program_run import Program


class Report(Protocol):
    """Reads what the program says.

    `stopped`: it named a fault that every object will have. `done`: it has said its last word on what it was given.
    """

    stopped: bool
    done: bool

    def read(self, line: bytes) -> SendResult | None:
        """What a line says of one object; None where it says nothing of any."""


def listen(program: Program, report: Report, monitor: StallMonitor) -> None:
    """Returns early where the monitor is over, or the report has stopped: the program is still at work then."""
    written = program.bytes_written() or 0
    for line in program.lines():
        if line is None:
            now = program.bytes_written()
            monitor.moved(max(0, now - written) if now is not None else 0)
            written = now or written
        elif sent := report.read(line):
            monitor.heard(sent)
        if report.done or monitor.over or report.stopped:
            return
