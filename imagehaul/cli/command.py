"""The command line: a thin layer over what can also be imported. Heavy imports wait until they are needed."""

from __future__ import annotations

import imagehaul.clock  # noqa: F401  isort: skip - the clock starts first

import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from imagehaul.cli.surroundings import ends_with, output_lost, settle
from imagehaul.errors import HaulError
from imagehaul.text import printable_lines

_TELLING = ("verify", "diff", "sources", "nginx")
"""Commands whose output is what they are for: where it is lost, they have failed."""
_INTERRUPTED = "Interrupted. What was proven stays; run again to go on from there."
_signals: list[int] = []
"""Those that came."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script where no `arguments` are given. Every error from outside the program ends here, as words."""
    _signals.clear()
    # All end a run as Ctrl-C does: children are ended, scratch is removed.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # As nohup leaves the last, and a shell's background the first.
            signal.signal(number, _interrupt)
    if arguments is not None:
        return _run(arguments)
    sys.unraisablehook = _keep_signal
    try:
        settle()
    except HaulError as error:
        return _fail(str(error), error.exit_status, sys.argv)
    status = _run(sys.argv[1:])
    if not status and sys.argv[1:2] and sys.argv[1] in _TELLING and (why := output_lost()):
        status = _fail(f"The output could not be written: {why}. Free room or send it elsewhere, and run again.", 1, [])
    return ends_with(status)


def _run(arguments: Sequence[str]) -> int:
    try:
        from imagehaul.cli.app import app

        tokens = _join_switches(arguments)
        return int(app(tokens, exit_on_error=False, print_error=False, result_action="return_value") or 0)
    except KeyboardInterrupt:
        return _fail(_INTERRUPTED, 1, arguments)
    except Exception as error:
        # Libraries that work when a signal comes, such as DuckDB, say it in words of their own, and in several.
        failed = _fail(_INTERRUPTED, 1, arguments) if _signals else _said(error, arguments)
        if failed is None:
            raise
        return failed


def _said(error: Exception, arguments: Sequence[str]) -> int | None:
    """The exit status, once the error is said. None for one that is ours."""
    from cyclopts import CycloptsError

    if isinstance(error, CycloptsError):
        command = " ".join(["imagehaul", *(error.command_chain or ())])
        return _fail(f"{error}\nSee `{command} --help`.", 2, arguments)
    if isinstance(error, HaulError):
        return _fail(str(error), error.exit_status, arguments)
    if isinstance(error, OSError):
        where = f" {error.filename!r}" if error.filename else ""
        return _fail(f"{error.strerror or error}{where}. Free room or grant permission, and run again.", 1, arguments)
    return None


def _fail(message: str, status: int, tokens: Sequence[str]) -> int:
    with suppress(OSError):  # The terminal may be gone.
        sys.stderr.write(f"imagehaul: {printable_lines(message)}\n")
    if "--json" in tokens:
        sys.stdout.write(json.dumps({"error": message, "exit_status": status}) + "\n")
    return status


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _signals.append(number)
    raise KeyboardInterrupt


def _keep_signal(ignored: sys.UnraisableHookArgs) -> None:
    """Python reports and drops what is raised while it removes an object: that signal is sent again, a moment later."""
    if _signals and ignored.exc_type is KeyboardInterrupt:
        threading.Timer(0.02, os.kill, (os.getpid(), _signals[-1])).start()
    else:
        sys.__unraisablehook__(ignored)


def _join_switches(tokens: Sequence[str]) -> list[str]:
    """`--serve-original-image true` means `--serve-original-image=true`, as it does for all other settings."""
    joined: list[str] = []
    for token in tokens:
        if token.lower() in ("true", "false") and joined and _is_switch(joined[-1]):
            joined[-1] += f"={token.lower()}"
        else:
            joined.append(token)
    return joined


def _is_switch(token: str) -> bool:
    from imagehaul.cli.settings_options import SWITCHES

    return token in SWITCHES


if __name__ == "__main__":
    sys.exit(main())
