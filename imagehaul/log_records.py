"""Log records on their way from a process that works to the one that leads, where handlers and levels are."""

from __future__ import annotations

import logging
from collections.abc import Callable

Plain = tuple[str, int, str]
"""Logger, level and the message as it reads."""


class _Forwarded(logging.Handler):
    def __init__(self, send: Callable[[Plain], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        self._send((record.name, record.levelno, record.getMessage()))


def forwarded(send: Callable[[Plain], None]) -> logging.Handler:
    return _Forwarded(send)


def hand_on(record: Plain) -> None:
    name, level, message = record
    logging.getLogger(name).log(level, "%s", message)
