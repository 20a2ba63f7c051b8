"""How a person sees what is going on: a bar in a terminal, lines in a log, an artifact in the Prefect UI."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TextIO

from imagehaul.text import printable_lines


class Progress(Protocol):
    """Told by the chain, from one thread."""

    def stage(self, name: str) -> None: ...

    def say(self, line: str) -> None: ...

    def warn(self, line: str) -> None: ...

    def expect(self, images: int, size: int) -> None: ...

    def advance(self, images: int, size: int) -> None: ...


@dataclass(slots=True)
class Work:
    """How far the images of a run are. Sizes in bytes, of source images."""

    images: int = 0
    size: int = 0
    done_images: int = 0
    done_size: int = 0
    since: float = 0.0

    def line(self) -> str:
        seconds = max(time.monotonic() - self.since, 0.001)
        rate = self.done_images / seconds
        share = self.done_images / self.images if self.images else 1.0
        left = (self.images - self.done_images) / rate if rate else 0.0
        return (
            f"{self.done_images:,} of {self.images:,} images ({share:.0%}), {human_bytes(self.done_size)}, "
            f"{rate:,.0f} images/s, about {left:,.0f} s to go"
        )


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

    def expect(self, images: int, size: int) -> None:
        self._work = Work(images, size, since=time.monotonic())
        self._last = time.monotonic()

    def advance(self, images: int, size: int) -> None:
        self._work.done_images += images
        self._work.done_size += size
        now = time.monotonic()
        if now - self._last >= self._interval or self._work.done_images == self._work.images:
            self._last = now
            self._say(self._work.line())


class BarProgress:
    """A bar on standard error, for a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeRemainingColumn(),
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
        self._console.print(printable_lines(line), markup=False, highlight=False)

    def warn(self, line: str) -> None:
        self._console.print(f"warning: {printable_lines(line)}", markup=False, highlight=False, style="yellow")

    def expect(self, images: int, size: int) -> None:
        self._work = Work(images, size, since=time.monotonic())
        self._bar.update(self._task, total=images, completed=0)

    def advance(self, images: int, size: int) -> None:
        self._work.done_images += images
        self._work.done_size += size
        rate = self._work.done_images / max(time.monotonic() - self._work.since, 0.001)
        detail = (
            f"{self._work.done_images:,} of {self._work.images:,}, {human_bytes(self._work.done_size)}, {rate:,.0f}/s"
        )
        self._bar.update(self._task, completed=self._work.done_images, detail=detail)


@contextmanager
def shown_on(stream: TextIO) -> Iterator[Progress]:
    """A bar where the stream is a terminal, lines where it is not."""
    if stream.isatty():
        with BarProgress() as bar:
            yield bar
        return

    def write(line: str) -> None:
        stream.write(f"{time.strftime('%H:%M:%S')} {printable_lines(line)}\n")
        stream.flush()

    yield LogProgress(write, lambda line: write(f"warning: {line}"))


def human_bytes(size: float) -> str:
    """In units of 1,000, as disks and networks are sold."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
