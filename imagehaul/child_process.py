"""A child process that ends when this process does, however that happens: a SIGKILL leaves no orphan."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

_DIE_WITH_PARENT = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"  # PR_SET_PDEATHSIG, SIGKILL
    "del sys.argv[0]\n"
    "if os.getppid() != int(sys.argv.pop(0)): os._exit(1)\n"
)
"""Asks the kernel to kill this process when the thread that started it ends, and then becomes the program.

A program of its own, since code between fork and exec is not safe in a process with threads."""
_BECOME_PROGRAM = "os.execv(sys.argv[0], sys.argv)"
_BECOME_SCRIPT = "exec(compile(open(sys.argv[0], 'rb').read(), sys.argv[0], 'exec'))"
_PYTHON = (sys.executable, "-I", "-S")
_SETPRIV = ("/usr/bin/setpriv", "--pdeathsig", "KILL")
"""https://man7.org/linux/man-pages/man1/setpriv.1.html, in util-linux since 2.33."""
_BECOME_BOUND = '[ "$PPID" = "$0" ] && exec "$@"'


def bound(command: Sequence[str]) -> list[str]:
    """The command so that it ends with the *thread* that starts it (prctl(2), PR_SET_PDEATHSIG).

    `command[0]` is a path. Other systems than Linux have no such signal: the command stays as it is.
    """
    if sys.platform != "linux":
        return list(command)
    if _has_setpriv():
        return [*_SETPRIV, "/bin/sh", "-c", _BECOME_BOUND, str(os.getpid()), *command]
    return [*_PYTHON, "-c", _DIE_WITH_PARENT + _BECOME_PROGRAM, str(os.getpid()), *command]


@cache
def _has_setpriv() -> bool:
    """Whether the system has its own program for it, which takes a tenth of the time of another Python."""
    try:
        return subprocess.run([*_SETPRIV, "/bin/sh", "-c", ":"], capture_output=True).returncode == 0
    except OSError:
        return False


def bound_script(script: Path) -> list[str]:
    """The same for a program in Python that needs the standard library alone, in one process instead of two."""
    if sys.platform != "linux":
        return [*_PYTHON, str(script)]
    return [*_PYTHON, "-c", _DIE_WITH_PARENT + _BECOME_SCRIPT, str(os.getpid()), str(script)]


def start_bound(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Starts the command so that it ends with this process: a thread of its own starts it, and stays as long.

    It gets a session of its own; `options` are those of `subprocess.Popen`.
    """
    return start_kept(bound(command), **options)


def start_bound_python(code: str, arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """The same for Python code, in a fresh interpreter that is isolated from the current folder and from variables.

    The code finds the `arguments` in `sys.argv[1:]`, and its pipes at the process's `stdin` and `stdout`.
    """
    # File names are UTF-8 in all of our processes, whatever the locale says.
    command = [sys.executable, "-I", "-S", "-X", "utf8", "-c"]
    if sys.platform == "linux":
        # The preamble makes the first argument the program's name, as it is in any other program.
        command += [_DIE_WITH_PARENT + code, str(os.getpid()), "-", *arguments]
    else:
        command += ["import sys\n" + code, *arguments]
    return start_kept(command, **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **options})


def start_kept(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Starts what `bound` and `bound_script` give in a thread of its own, which stays until the process has ended.

    Raises OSError.
    """
    outcome: list[subprocess.Popen[bytes] | Exception] = []
    started = threading.Event()

    def keep() -> None:
        try:
            process = subprocess.Popen(command, start_new_session=True, **options)
        except Exception as error:
            outcome.append(error)
            started.set()
            return
        outcome.append(process)
        started.set()
        process.wait()

    start_thread(threading.Thread(target=keep, name=f"keeps {command[0]}", daemon=True))
    started.wait()
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


def start_thread(thread: threading.Thread) -> None:
    """Raises OSError where there is none to be had: threads count among the processes of a user and of a container."""
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
