"""The rendering process: takes pictures from its standard input, and answers on its standard output.

Started by `imagehaul.rendering.process`. Decoders are the one part of the chain that meets hostile bytes in C code, so
each picture has a time and a memory limit that the kernel holds, and whoever breaks one takes nobody along.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import resource
import signal
from pathlib import Path
from typing import BinaryIO

from imagehaul.errors import Code
from imagehaul.records import Picture, PictureJob, RenderOptions
from imagehaul.rendering.render import fingerprint, render
from imagehaul.text import printable

SLOWEST_DISK = 10_000_000
"""Bytes a second: a large file has as many more seconds than the limit says as it takes to read it this slowly."""


def main(lifeline: int, done: int) -> None:
    """Until the parent closes the pipe. `lifeline`: a file descriptor whose other end only the parent holds.

    `done`: a pipe that gets a byte for each picture. Answers come by the chunk, since each message takes both processes
    out of what they do, and names its classes anew; where this one dies, the parent counts there which picture it was.
    """
    # Ctrl-C is the parent's to answer; the alarm must end this process, whatever was inherited.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    _die_with_parent(lifeline)
    with os.fdopen(os.dup(0), "rb") as requests, os.fdopen(os.dup(1), "wb") as answers:
        options: RenderOptions = pickle.load(requests)
        _hold_limits(options)
        _silence()
        _answer(answers, None)
        with contextlib.suppress(EOFError, BrokenPipeError):
            while True:
                jobs: tuple[PictureJob, ...]
                jobs, decode = pickle.load(requests)
                pictures: list[Picture] = []
                for job in jobs:
                    signal.setitimer(signal.ITIMER_REAL, options.picture_seconds + job.size / SLOWEST_DISK)
                    pictures.append(_looked_at(job, options, decode))
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    os.write(done, b".")
                _answer(answers, pictures)
    # Without the interpreter's tidying up, which takes as long as its start.
    os._exit(0)


def _looked_at(job: PictureJob, options: RenderOptions, decode: bool) -> Picture:
    """What goes wrong here besides the picture itself is our own fault, and no reason to reject it."""
    try:
        return render(job, options) if decode else fingerprint(job)
    except Exception as error:
        said = printable(f"{type(error).__name__}: {error}")
        return Picture(None, code=Code.RENDERING_FAILED, message=f"The rendering process failed: {said[:200]}")


def _answer(answers: BinaryIO, message: object) -> None:
    pickle.dump(message, answers, pickle.HIGHEST_PROTOCOL)
    answers.flush()


def _die_with_parent(lifeline: int) -> None:
    """The kernel sends SIGIO, which ends this process even inside a decoder, when the parent's end closes."""
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _hold_limits(options: RenderOptions) -> None:
    """What the interpreter has taken by now is not the picture's, nor what is left over from the one before."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    left_over = int(os.environ.get("MALLOC_TRIM_THRESHOLD_", "0"))
    limit = _address_space() + left_over + options.picture_memory * 2**20
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _address_space() -> int:
    """In bytes; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()
    except FileNotFoundError:
        return 0


def _silence() -> None:
    """Decoders write warnings straight to these, where they would get among the answers or fill a pipe."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
