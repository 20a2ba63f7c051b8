"""How a program that sends in our place is listened to, until it has ended or there is no hope left."""

from __future__ import annotations

from typing import Protocol

from imagehaul.records import SendResult
from imagehaul.store.retry import StallMonitor
from imagehaul.transfer.program_run import BoundRun


class Report(Protocol):
    """Reads what the program says. `stopped`: it named a fault that every object will have."""

    stopped: bool

    def read(self, line: bytes) -> SendResult | None:
        """What a line says of one object; None where it says nothing of any."""


def listen(run: BoundRun, report: Report, monitor: StallMonitor) -> None:
    """Returns early where the monitor is over, or the report has stopped: leaving the run then ends the program."""
    written = 0
    for line in run.lines():
        if line is None:
            now = run.bytes_written()
            monitor.moved(max(0, now - written) if now is not None else 0)
            written = now or written
        elif sent := report.read(line):
            monitor.heard(sent)
        if monitor.over or report.stopped:
            return
