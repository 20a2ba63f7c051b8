"""Rendering in processes of its own, so that no picture can hang, bloat or end the run.

    jobs of several threads ─► chunks ─► a thread for each worker ─► a worker process

Jobs and info travel through pipes, pictures do not: a worker reads the source's file and writes the renditions.
A worker that dies takes one picture with it, and another takes its place.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from imagehaul.errors import HaulError
from imagehaul.records import Picture, PictureJob, RenderOptions
from imagehaul.rendering.process import RenderProcess, WorkerDiedError

_LARGEST_CHUNK = 16
_WORTH_A_PROCESS = 8_000_000
"""Bytes of pictures that wait: to render them takes 0.2 s, and a process 0.15 s to start."""
_STARTS = 3
"""How often a process is started that dies without a word as it starts."""
_SMALLEST = 250_000
"""Bytes that a picture counts for at least."""


class RenderPool:
    """Renders with up to `workers` processes, which start when there is work that is worth one more.

    Memory: at most `workers` times PICTURE_MEMORY and 200 MiB, and as good as nothing in this process.
    """

    def __init__(self, options: RenderOptions, workers: int) -> None:
        self._options = options
        self._workers = workers
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="rendering")
        self._lock = threading.Condition()
        self._effort = 0
        self._idle: list[RenderProcess] = []
        self._busy: set[RenderProcess] = set()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def render(self, jobs: Sequence[PictureJob]) -> list[Picture]:
        """One picture for each job, in the jobs' order. Several threads may call at once, and share the workers.

        Raises `HaulError` where no worker can start, or the pool is closed; never for what one picture does.
        """
        effort = sum(max(_SMALLEST, job.size) for job in jobs)
        with self._lock:
            if self._closed:
                raise _stopped()
            self._effort += effort
            self._lock.notify_all()
            chunks = [self._threads.submit(self._render_chunk, chunk) for chunk in self._chunks(jobs)]
        try:
            return [picture for chunk in chunks for picture in chunk.result()]
        except CancelledError as error:
            raise _stopped() from error
        finally:
            for chunk in chunks:
                chunk.cancel()
            with self._lock:
                self._effort -= effort

    def close(self) -> None:
        """Ends all workers at once, also in the middle of a picture."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
            for worker in (*self._busy, *self._idle):
                worker.kill()
        self._threads.shutdown(cancel_futures=True)
        while self._idle:
            self._idle.pop().end()

    def _chunks(self, jobs: Sequence[PictureJob]) -> Iterator[tuple[PictureJob, ...]]:
        """Many pictures at first, to save messages; one at a time in the end, so that all workers are done together."""
        start = 0
        while start < len(jobs):
            length = min(_LARGEST_CHUNK, max(1, (len(jobs) - start) // (4 * self._workers)))
            yield tuple(jobs[start : start + length])
            start += length

    def _render_chunk(self, jobs: tuple[PictureJob, ...]) -> list[Picture]:
        pictures: dict[int, Picture] = {}
        waiting = deque(range(len(jobs)))
        suspect, alone = -1, False
        while waiting:
            asked = [waiting[0]] if alone else list(waiting)
            worker = self._take()
            try:
                pictures.update(zip(asked, worker.answers([jobs[number] for number in asked]), strict=True))
            except WorkerDiedError as death:
                self._discard(worker)
                # From now on one at a time, so that no answer is lost again. Those that were done come last.
                alone = True
                waiting.rotate(-death.lost)
                # Systems kill for reasons of their own, and time goes on while they let nobody work (a laptop asleep, a
                # container paused): only a picture on which two workers died is to blame.
                if suspect == waiting[0]:
                    blamed = waiting.popleft()
                    pictures[blamed] = self._blamed(jobs[blamed], death)
                else:
                    suspect = waiting[0]
            else:
                for _ in asked:
                    waiting.popleft()
                self._give_back(worker)
        for number, job in enumerate(jobs):
            if pictures[number].code and not pictures[number].renditions:
                _remove_renditions(job)
        return [pictures[number] for number in range(len(jobs))]

    def _blamed(self, job: PictureJob, death: WorkerDiedError) -> Picture:
        """The picture's code, with size and hashes where those can be had."""
        worker = self._take()
        try:
            (picture,) = worker.answers((job,), decode=False)
        except WorkerDiedError:
            self._discard(worker)
            picture = Picture(None)
        else:
            self._give_back(worker)
        if picture.code:
            return picture
        return replace(picture, code=death.code, message=death.message)

    def _take(self, tries: int = _STARTS) -> RenderProcess:
        with self._lock:
            while True:
                if self._closed:
                    raise _stopped()
                while self._idle:
                    worker = self._idle.pop()
                    if worker.is_alive():
                        self._busy.add(worker)
                        return worker
                    worker.end()
                if len(self._busy) <= self._effort // _WORTH_A_PROCESS:
                    break
                self._lock.wait()
            try:
                worker = RenderProcess(self._options)
            except OSError as error:
                raise HaulError(f"No process for rendering can be started: {error.strerror}.") from error
            self._busy.add(worker)
        try:
            worker.greet()
        except WorkerDiedError as death:
            self._discard(worker)
            # Systems kill for reasons of their own: what died without a word may start the next time.
            if not death.last_words and tries > 1:
                return self._take(tries - 1)
            mend = "Install imagehaul again, into an environment of its own" if death.last_words else "Free memory"
            raise HaulError(
                f"The rendering process cannot start: {death.last_words or death.message}\n{mend}, and run again."
            ) from death
        return worker

    def _give_back(self, worker: RenderProcess) -> None:
        with self._lock:
            self._busy.discard(worker)
            self._idle.append(worker)
            self._lock.notify()

    def _discard(self, worker: RenderProcess) -> None:
        with self._lock:
            self._busy.discard(worker)
            self._lock.notify()
            closed = self._closed
        worker.end()
        if closed:
            raise _stopped()


def _remove_renditions(job: PictureJob) -> None:
    """What a picture left behind before it failed: half a file, or one that nothing tells of."""
    for file in (job.thumbnail, job.normalized, *(crop.file for crop in job.crops)):
        if file:
            Path(file).unlink(missing_ok=True)


def _stopped() -> HaulError:
    return HaulError("Rendering was stopped before its end. Run again: what is there is not sent twice.")
