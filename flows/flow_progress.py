"""Where a flow run shows how far it is: lines in its log, and an artifact that moves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from prefect import get_run_logger

from imagehaul.flows.artifacts import artifact_key
from imagehaul.flows.progress_artifact import ProgressArtifact
from imagehaul.progress import LogProgress, Progress
from imagehaul.text import printable_lines

UPDATE_SECONDS = 1.0
_TERMINAL: ContextVar[Progress | None] = ContextVar("terminal", default=None)


class FlowProgress:
    """Lines in the run's log, and a progress artifact."""

    def __init__(self, dataset: str) -> None:
        logger = get_run_logger()
        self._lines = LogProgress(
            lambda text: logger.info("%s", printable_lines(text)),
            lambda text: logger.warning("%s", printable_lines(text)),
        )
        self._key = artifact_key("progress", dataset)
        self._artifact = ProgressArtifact(self._key)
        self._images = self._done = 0
        self._what = ""
        self._shown = 0.0

    def stage(self, name: str) -> None:
        self._lines.stage(name)

    def say(self, line: str) -> None:
        self._lines.say(line)

    def warn(self, line: str) -> None:
        self._lines.warn(line)

    def expect(self, images: int, size: int, what: str = "images") -> None:
        self._lines.expect(images, size, what)
        self._images, self._done, self._what = images, 0, what
        self._artifact = ProgressArtifact(self._key)
        self._artifact.show(0.0, self._described())

    def advance(self, images: int, size: int) -> None:
        self._lines.advance(images, size)
        self._done += images
        now = time.monotonic()
        if now - self._shown >= UPDATE_SECONDS or self._done == self._images:
            self._shown = now
            percent = round(100 * self._done / self._images, 1) if self._images else 100.0
            self._artifact.show(percent, self._described())
        if self._done == self._images:
            self._artifact.wait()

    def _described(self) -> str:
        return f"{self._done:,} of {self._images:,} {self._what}"


@dataclass(frozen=True)
class Both:
    """Progress in two places: the terminal and the flow run."""

    first: Progress
    second: Progress

    def stage(self, name: str) -> None:
        self.first.stage(name)
        self.second.stage(name)

    def say(self, line: str) -> None:
        self.first.say(line)
        self.second.say(line)

    def warn(self, line: str) -> None:
        self.first.warn(line)
        self.second.warn(line)

    def expect(self, images: int, size: int, what: str = "images") -> None:
        self.first.expect(images, size, what)
        self.second.expect(images, size, what)

    def advance(self, images: int, size: int) -> None:
        self.first.advance(images, size)
        self.second.advance(images, size)


@contextmanager
def also_shown_on(terminal: Progress) -> Iterator[None]:
    """Runs of flows that are called within show their progress there too."""
    before = _TERMINAL.set(terminal)
    try:
        yield
    finally:
        _TERMINAL.reset(before)


def progress_of_run(dataset: str) -> Progress:
    here, terminal = FlowProgress(dataset), _TERMINAL.get()
    return Both(terminal, here) if terminal else here
