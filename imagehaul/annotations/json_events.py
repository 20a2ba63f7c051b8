"""A JSON file as a stream of its parts, however large, and the place of what is wrong in it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from imagehaul.errors import AnnotationError

_BLOCK = 2**16


@contextmanager
def json_events(path: Path, shown: str) -> Iterator[Iterator[tuple[str, Any]]]:
    """Keys, values, beginnings and ends, in their order. Raises AnnotationError, with line and byte, at no JSON.

    A context and no generator, since that would add a third to the time: there are tens of events to an annotation.
    """
    import ijson

    with path.open("rb") as file:
        counted = _Counted(file)
        try:
            yield ijson.basic_parse(counted, use_float=True, buf_size=_BLOCK)
        except (ijson.JSONError, UnicodeDecodeError) as error:
            # The parser knows no position: the last block is read once more, byte for byte.
            position, line = _position(path, counted.position - _BLOCK)
            file.seek(max(0, position - 1))
            raise AnnotationError(_not_json(shown, position, line, file.read(9), str(error))) from error


class _Counted:
    """A file that knows how far it was read, without its byte order mark; one byte at a time after `careful`."""

    def __init__(self, file: BinaryIO, careful: float = math.inf) -> None:
        self._file = file
        self._careful = careful
        self.position = 3 if file.read(3) == b"\xef\xbb\xbf" else file.seek(0)
        self.lines = 1

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, 1) if self.position >= self._careful else size)
        self.position += len(data)
        self.lines += data.count(b"\n")
        return data


def _position(path: Path, careful: int) -> tuple[int, int]:
    """Byte (from 1) and line of the first thing that is no JSON."""
    import ijson

    with path.open("rb") as file:
        counted = _Counted(file, careful)
        try:
            for _event in ijson.basic_parse(counted, use_float=True, buf_size=_BLOCK):
                pass
        except (ijson.JSONError, UnicodeDecodeError):
            return counted.position, counted.lines
    return counted.position, counted.lines


def _not_json(shown: str, position: int, line: int, there: bytes, reason: str) -> str:
    where = f"{shown}, line {line} (byte {position:,})"
    if position == 0:
        return f"{shown}: the file is empty."
    if there.lstrip(b"-").startswith((b"NaN", b"Inf")):
        return f"{where}: NaN and Infinity are no JSON.\nWrite null, or leave the annotation out."
    if not there or "premature EOF" in reason or "Incomplete" in reason:
        return f"{where}: the JSON ends too early: the file seems to be cut off."
    plain = reason.removeprefix("b'").splitlines()[0].split("\\n")[0]
    return f"{where}: not valid JSON ({plain}), at {there!r}."
