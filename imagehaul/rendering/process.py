"""One worker process, as its parent sees it."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import IO, cast

from imagehaul.errors import Code
from imagehaul.records import Picture, PictureJob, RenderOptions

_KEPT_VARIABLES = ("LD_LIBRARY_PATH",)
"""Where libraries lie. Keys to a store are nothing that a decoder needs."""
_DECODERS_DEATHS = {
    -signal.SIGSEGV,
    -signal.SIGBUS,
    -signal.SIGABRT,
    -signal.SIGILL,
    -signal.SIGFPE,
    -signal.SIGTRAP,
    -signal.SIGSYS,
}
"""What a process ends with that did something wrong. Other signals come from outside."""

KEPT_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(128 * 2**20), "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20)}
"""Bytes that the allocator holds on to from picture to picture, instead of asking the kernel for them each time.

A quarter of the time of a small thumbnail or of a dozen crops. https://man7.org/linux/man-pages/man3/mallopt.3.html
"""

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""numpy would reserve memory for a thread on each core, and it counts against the worker's limit."""

_START = (
    "import sys; sys.path[:] = sys.argv[3:]; from imagehaul.rendering.worker import main; "
    "main(int(sys.argv[1]), int(sys.argv[2]))"
)


class WorkerDiedError(Exception):
    """`code` and `message`: what this means for the picture that was worked on.

    `lost`: pictures before it that were done, and whose answers died with the worker.
    """

    def __init__(self, exit_code: int, last_words: str = "", lost: int = 0) -> None:
        self.last_words = last_words
        self.lost = lost
        if exit_code == -signal.SIGALRM:
            self.code, self.message = Code.TIME_LIMIT, "Work on the picture took longer than PICTURE_SECONDS allows."
        elif exit_code == -signal.SIGKILL:
            # Decoders do not do this; systems do when memory runs out.
            self.code, self.message = (
                Code.MEMORY_LIMIT,
                "The system killed the work on the picture, perhaps for memory.",
            )
        elif exit_code in _DECODERS_DEATHS:
            self.code, self.message = Code.DECODER_CRASHED, f"The decoder died: {signal.strsignal(-exit_code)}."
        else:
            how = f"by {signal.strsignal(-exit_code)}" if exit_code < 0 else f"with exit status {exit_code}"
            self.code, self.message = Code.RENDERING_FAILED, f"The rendering process ended {how}."
        super().__init__(self.message)


class RenderProcess:
    """Runs `imagehaul.rendering.worker` in a fresh interpreter.

    Not with `multiprocessing`, which imports the parent's program again (that of Prefect takes seconds) or
    forks a process that has threads. The interpreter gets the parent's `sys.path` and is isolated otherwise:
    no folder that happens to be the current one can slip a module in. Raises `OSError` where none can be started.
    """

    def __init__(self, options: RenderOptions) -> None:
        self._options = options
        theirs, self._lifeline = os.pipe()
        self._done, done = os.pipe()
        here = str(Path(__file__).parents[2])
        path = [entry for entry in sys.path if entry]
        flags = ["-I", "-S", "-W", "ignore", "-X", "utf8"]
        try:
            self._process = subprocess.Popen(
                [sys.executable, *flags, "-c", _START, str(theirs), str(done), *path, here],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(theirs, done),
                env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
                | KEPT_MEMORY
                | ONE_THREAD,
            )
        except OSError:
            os.close(self._lifeline)
            os.close(self._done)
            raise
        finally:
            os.close(theirs)
            os.close(done)
        self._requests = cast(IO[bytes], self._process.stdin)
        self._answers = cast(IO[bytes], self._process.stdout)
        self._errors = cast(IO[bytes], self._process.stderr)

    def greet(self) -> None:
        """Waits until the process is ready. Raises `WorkerDiedError` with its last words."""
        try:
            self._send(self._options)
            pickle.load(self._answers)
        except (EOFError, OSError) as error:
            words = self._errors.read().decode(errors="replace").strip().splitlines()
            raise WorkerDiedError(self._process.wait(), words[-1] if words else "") from error
        self._errors.close()

    def answers(self, jobs: Collection[PictureJob], decode: bool = True) -> list[Picture]:
        """A picture for each job, once all are done; without `decode`, size and hashes alone."""
        try:
            self._send((tuple(jobs), decode))
            pictures: list[Picture] = pickle.load(self._answers)
            os.read(self._done, len(jobs))
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            exit_code = self._process.wait()
            done = len(os.read(self._done, len(jobs) - 1)) if len(jobs) > 1 else 0
            raise WorkerDiedError(exit_code, lost=done) from error
        return pictures

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers, self._errors):
            # A pipe may hold what the worker did not live to take.
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        os.close(self._lifeline)
        os.close(self._done)

    def _send(self, message: object) -> None:
        pickle.dump(message, self._requests, pickle.HIGHEST_PROTOCOL)
        self._requests.flush()
