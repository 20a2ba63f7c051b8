"""How a person sees what is going on: a bar in a terminal, lines in a log, an artifact in the Prefect UI."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, TextIO

from imagehaul.log_records import forwarded
from imagehaul.text import printable_lines


class Progress(Protocol):
    """Told by the chain, from one thread."""

    def stage(self, name: str) -> None: ...

    def say(self, line: str) -> None: ...

    def warn(self, line: str) -> None: ...

    def expect(self, images: int, size: int, what: str = "images") -> None: ...

    def advance(self, images: int, size: int) -> None: ...


_LATELY = 60.0
"""Seconds: a rate is that of about the last minute, so that it follows what becomes slower or faster."""


@dataclass(slots=True)
class Work:
    """How far a run is. Sizes in bytes, of source images; times in seconds of one clock.

    Images are counted when their whole batch has ended. The first batch ends after processes have started and with
    others half done, and so says little of what is to come. A rate is measured from its end on, and none is told
    before as much time has gone by again as it took.
    """

    images: int = 0
    size: int = 0
    what: str = "images"
    since: float = field(default_factory=time.monotonic)
    done_images: int = 0
    done_size: int = 0
    _now: float = 0.0
    _first_took: float = 0.0
    _ends: deque[tuple[float, int]] = field(default_factory=deque)
    """When batches ended, at most one a second, and what was done by then."""

    def advance(self, images: int, size: int, now: float | None = None) -> None:
        self.done_images += images
        self.done_size += size
        self._now = time.monotonic() if now is None else now
        if not self._ends:
            self._first_took = self._now - self.since
        if not self._ends or self._now - self._ends[-1][0] >= 1:
            self._ends.append((self._now, self.done_images))
        while len(self._ends) > 1 and self._now - self._ends[1][0] >= max(_LATELY, self._first_took):
            self._ends.popleft()

    @property
    def finished(self) -> bool:
        return self.done_images == self.images

    def pace(self) -> str:
        """How fast, and how long it still takes or how long it took; empty where it is too early to tell."""
        if self.finished:
            seconds = max(self._now - self.since, 0.001)
            return f"{per_second(self.done_images / seconds)}/s, in {lasting(seconds)}"
        then, done = self._ends[0] if self._ends else (self._now, self.done_images)
        seconds = self._now - then
        if seconds < max(self._first_took, 1.0) or self.done_images == done:
            return ""
        rate = (self.done_images - done) / seconds
        left = (self.images - self.done_images) / rate
        return f"{per_second(rate)}/s, about {lasting(left)} to go"

    def line(self) -> str:
        share = self.done_images / self.images if self.images else 1.0
        done = f"{self.done_images:,} of {self.images:,} {self.what} ({share:.0%}), {human_bytes(self.done_size)}"
        return ", ".join(filter(None, (done, self.pace())))

    def short(self) -> str:
        """For a line that has a bar, too."""
        return ", ".join(filter(None, (f"{self.done_images:,} of {self.images:,}", self.pace())))


class LogProgress:
    """A line when a stage begins, and while images are worked on one every `interval` seconds at most."""

    def __init__(self, say: Callable[[str], None], warn: Callable[[str], None], interval: float = 10.0) -> None:
        self._say, self._warn, self._interval = say, warn, interval
        self._work = Work()
        self._last = 0.0

    def stage(self, name: str) -> None:
        self._say(name)

    def say(self, line: str) -> None:
        self._say(line)

    def warn(self, line: str) -> None:
        self._warn(line)

    def expect(self, images: int, size: int, what: str = "images") -> None:
        self._work = Work(images, size, what)
        self._last = time.monotonic()

    def advance(self, images: int, size: int) -> None:
        self._work.advance(images, size)
        now = time.monotonic()
        if now - self._last >= self._interval or self._work.finished:
            self._last = now
            self._say(self._work.line())


class BarProgress:
    """A bar on standard error, for a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._console = Console(stderr=True)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[detail]}"),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, detail="")
        self._work = Work()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def stage(self, name: str) -> None:
        from rich.markup import escape

        self._bar.update(self._task, description=escape(printable_lines(name)), total=None, detail="")

    def say(self, line: str) -> None:
        self._console.print(printable_lines(line), markup=False, highlight=False, soft_wrap=True)

    def warn(self, line: str) -> None:
        self._console.print(
            f"warning: {printable_lines(line)}", markup=False, highlight=False, soft_wrap=True, style="yellow"
        )

    def expect(self, images: int, size: int, what: str = "images") -> None:
        self._work = Work(images, size, what)
        self._bar.update(self._task, total=images, completed=0)

    def advance(self, images: int, size: int) -> None:
        self._work.advance(images, size)
        self._bar.update(self._task, completed=self._work.done_images, detail=self._work.short())


@contextmanager
def shown_on(stream: TextIO) -> Iterator[Progress]:
    """A bar where the stream is a terminal, lines where it is not."""
    if stream.isatty():
        with BarProgress() as bar, _warnings_of_the_log(bar):
            yield bar
        return

    def write(line: str) -> None:
        stream.write(f"{time.strftime('%H:%M:%S')} {printable_lines(line)}\n")
        stream.flush()

    progress = LogProgress(write, lambda line: write(f"warning: {line}"))
    with _warnings_of_the_log(progress):
        yield progress


@contextmanager
def _warnings_of_the_log(progress: Progress) -> Iterator[None]:
    """What lies deeper than the chain warns by Python's log: it is shown like all else."""
    handler = forwarded(lambda record: progress.warn(record[2]))
    handler.setLevel(logging.WARNING)
    logger = logging.getLogger("imagehaul")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def human_bytes(size: float) -> str:
    """In units of 1,000, as disks and networks are sold."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def per_second(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def lasting(seconds: float) -> str:
    """As somebody who waits would say it: 24 s, 12 min, 3 h 20 min."""
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:,.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes:,} min" if minutes < 100 else f"{minutes // 60:,} h {minutes % 60} min"
