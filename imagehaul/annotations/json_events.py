"""A JSON file as a stream of its parts, however large, and the place of what is wrong in it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from imagehaul.errors import AnnotationError

_BLOCK = 2**16


class LargeNumberError(Exception):
    """The parser has no place for a number: the file has to be read anew, with `large_as_text`."""


@contextmanager
def json_events(path: Path, shown: str, large_as_text: bool = False) -> Iterator[Iterator[tuple[str, Any]]]:
    """Keys, values, beginnings and ends, in their order. Raises AnnotationError, with line and byte, at no JSON.

    A context and no generator, since that would add a third to the time: there are tens of events to an annotation.
    `large_as_text`: as `CountedFile` has it. Without it, a whole number of more than 64 bits raises LargeNumberError.
    """
    import ijson

    with path.open("rb") as file:
        counted = CountedFile(file, large_as_text=large_as_text)
        try:
            yield ijson.basic_parse(counted, use_float=True, buf_size=_BLOCK)
        except (ijson.JSONError, UnicodeDecodeError) as error:
            if not large_as_text and _plain(str(error)).endswith(" overflow"):
                raise LargeNumberError from error
            # The parser knows no position: the last block is read once more, byte for byte.
            position, line = _position(path, counted.position - _BLOCK, large_as_text)
            file.seek(max(0, position - 1))
            raise AnnotationError(_not_json(shown, position, line, file.read(9), str(error))) from error


_NO_NUMBER = (b"NaN", b"Infinity", b"-Infinity")
_MAY_GO_ON = {bytes([sign]) for sign in b"-InfityNa\\"}
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_TEXT_OR_NO_NUMBER = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|$)|NaN|-?Infinity', re.DOTALL)
_LARGE = rb"(?<![\d.eE+-])-?(?:\d{19,}(?:\.\d+)?(?:[eE][+-]?\d+)?|\d+(?:\.\d+)?[eE]\+?\d{3,})"
_TEXT_OR_LARGE = re.compile(_TEXT_OR_NO_NUMBER.pattern + b"|" + _LARGE, re.DOTALL)
_OF_NUMBER = frozenset(bytes([sign]) for sign in b"0123456789.eE+-")
_LONGEST_NUMBER = 5_000
"""Bytes of one that lies across two blocks."""


class CountedFile:
    """A file that knows how far it was read, without its byte order mark; one byte at a time after `careful`.

    NaN and Infinity, which Python writes and JSON does not know, are given as an empty text of the same length: that
    is no number to whoever reads the field, and costs nothing where nobody does. `large_as_text`: numbers that may not
    fit into 64 bits, such as the hashes that some tools take for ids, are given in quotation marks.
    """

    def __init__(self, file: BinaryIO, careful: float = math.inf, large_as_text: bool = False) -> None:
        self._file = file
        self._careful = careful
        self._large_as_text = large_as_text
        self._in_text = False
        self.position = 3 if file.read(3) == b"\xef\xbb\xbf" else file.seek(0)
        self.lines = 1

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, 1) if self.position >= self._careful else size)
        longest = len(data) + _LONGEST_NUMBER if self._large_as_text else 0
        # Neither a word nor a sign behind a backslash is cut in two, nor a number that counts.
        while (
            data
            and (_is_cut(data) or (len(data) < longest and data[-1:] in _OF_NUMBER))
            and (more := self._file.read(1))
        ):
            data += more
        self.position += len(data)
        self.lines += data.count(b"\n")
        begins_in_text = self._in_text
        quotes = _ESCAPED.sub(b"", data) if b"\\" in data else data
        self._in_text ^= bool(quotes.count(b'"') % 2)
        if self._large_as_text or b"NaN" in data or b"Infinity" in data:
            whole = b'"' + data if begins_in_text else data
            replaced = _TEXT_OR_LARGE if self._large_as_text else _TEXT_OR_NO_NUMBER
            data = replaced.sub(_as_text, whole)[begins_in_text:]
        return data


def _is_cut(data: bytes) -> bool:
    """Whether one of the words, or a sign behind a backslash, may go on behind the data."""
    if data[-1:] not in _MAY_GO_ON:
        return False
    end = data[-len(b"-Infinity") :]
    slashes = len(data) - len(data.rstrip(b"\\"))
    return bool(slashes % 2) or any(
        end.endswith(word[:length]) for word in _NO_NUMBER for length in range(1, len(word))
    )


def _as_text(found: re.Match[bytes]) -> bytes:
    word = found[0]
    if word.startswith(b'"'):
        return word
    return b'"%b"' % word if word[-1:].isdigit() else b'""'.ljust(len(word))


def _position(path: Path, careful: int, large_as_text: bool) -> tuple[int, int]:
    """Byte (from 1) and line of the first thing that is not valid JSON."""
    import ijson

    with path.open("rb") as file:
        counted = CountedFile(file, careful, large_as_text)
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
    if not there or "premature EOF" in reason or "Incomplete" in reason:
        return f"{where}: the JSON ends too early: the file seems to be cut off."
    return f"{where}: not valid JSON ({_plain(reason)}), at {there!r}."


def _plain(reason: str) -> str:
    """The parser's own words, without the text around the place."""
    return reason.removeprefix("b'").splitlines()[0].split("\\n")[0]
