"""The command line: a thin layer over what can also be imported. Heavy imports wait until they are needed."""

from __future__ import annotations

import imagehaul.clock  # noqa: F401  isort: skip - the clock starts first

import json
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from imagehaul.cli.surroundings import ends_with, output_lost, settle
from imagehaul.errors import HaulError
from imagehaul.text import printable_lines

_TELLING = ("verify", "diff", "sources", "nginx")
"""Commands whose output is what they are for: where it is lost, they have failed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script where no `arguments` are given. Every error from outside the program ends here, as words."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # As nohup leaves the second.
            signal.signal(number, _terminate)
    if arguments is not None:
        return _run(arguments)
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
        return _call(arguments)
    except KeyboardInterrupt:  # From the imports on, which take longer than some commands.
        return _fail("Interrupted. What was proven stays; run again to go on from there.", 1, arguments)


def _call(arguments: Sequence[str]) -> int:
    from cyclopts import CycloptsError

    from imagehaul.cli.app import app

    try:
        tokens = _join_switches(arguments)
        return int(app(tokens, exit_on_error=False, print_error=False, result_action="return_value") or 0)
    except CycloptsError as error:
        command = " ".join(["imagehaul", *(error.command_chain or ())])
        return _fail(f"{error}\nSee `{command} --help`.", 2, arguments)
    except HaulError as error:
        return _fail(str(error), error.exit_status, arguments)
    except OSError as error:
        where = f" {error.filename!r}" if error.filename else ""
        return _fail(f"{error.strerror or error}{where}. Free room or grant permission, and run again.", 1, arguments)


def _fail(message: str, status: int, tokens: Sequence[str]) -> int:
    with suppress(OSError):  # The terminal may be gone.
        sys.stderr.write(f"imagehaul: {printable_lines(message)}\n")
    if "--json" in tokens:
        sys.stdout.write(json.dumps({"error": message, "exit_status": status}) + "\n")
    return status


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    # These end a run as Ctrl-C does: children are ended, scratch is removed.
    raise KeyboardInterrupt


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
