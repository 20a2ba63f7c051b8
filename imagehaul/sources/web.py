"""Pictures on web servers, asked with care: a few connections for each host, and patience."""

from __future__ import annotations

import email.utils
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from imagehaul.errors import Code
from imagehaul.sources.formats import SNIFFED, is_page, suffix_of
from imagehaul.sources.web_client import WebError, WebPatience, make_client, redirected
from imagehaul.store.explanations import tls_fault

if TYPE_CHECKING:
    import httpx

Thing = TypeVar("Thing")

CONNECTIONS_A_HOST = 8
MOST_LOST = 8
"""Pictures in a row that a host never gave, before it is asked for no more of them."""
MOST_REDIRECTS = 5
LARGEST = 2 * 1024**3
"""Bytes of one picture; a server that sends without end must not fill the disk."""
LONGEST = 900.0
"""Seconds that one picture may take."""
_CHUNK = 256 * 1024
_DIGITS = 18
_LOOKS = 3
_PATIENCE = WebPatience()
_UNSTEADY = (
    "The server names another ETag in each answer, and no Last-Modified, so that a change cannot be told. "
    "Have it name steady ones, or none."
)
_BUSY = {408, 425, 429, 500, 502, 503, 504}


class _AgainError(Exception):
    """Worth another attempt. `code` and words are for when there is none.

    `after`: seconds, 0 = as we like. `by_host`: it is not this picture alone that has to wait.
    """

    def __init__(self, code: Code, message: str, after: float = 0.0, by_host: bool = False) -> None:
        super().__init__(message)
        self.code, self.after, self.by_host = code, after, by_host


@dataclass(frozen=True, slots=True)
class Looked:
    """What a server says of a picture: `size` in bytes, 0 = it does not say; `version`: ETag or Last-Modified,
    "" = neither. `suffix` is that of its true format, where it was asked for. `modified`: Last-Modified in any case."""

    size: int
    version: str
    suffix: str = ""
    modified: str = field(default="", compare=False)

    @property
    def etag(self) -> str:
        """As `If-None-Match` takes it, "" where the version is none: a time has blanks in it, and an ETag never.
        https://www.rfc-editor.org/rfc/rfc9110#field.etag
        Some servers put letters beyond ASCII into one, which httpx reads and does not send."""
        if not self.version or " " in self.version or not self.version.isascii():
            return ""
        weak = self.version.startswith("W/")
        return f'W/"{self.version[2:]}"' if weak else f'"{self.version}"'

    def is_as_old_as(self, other: Looked) -> bool:
        return bool(self.modified) and (self.size, self.modified) == (other.size, other.modified)


@dataclass(slots=True)
class _Host:
    """`rests_until`: as the server asked. `lost`: pictures in a row for which patience ran out.

    `given_up`: the code for all further pictures, which would else wait as long, each of them.
    """

    slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(CONNECTIONS_A_HOST))
    rests_until: float = 0.0
    lost: int = 0
    given_up: tuple[Code, str] | None = None


class Web:
    """One for each process; threads share it. `ca`: a PEM file to trust besides the system's, "" = none."""

    def __init__(self, allow_private: bool = False, ca: str = "", patience: WebPatience = _PATIENCE) -> None:
        self._allow_private = allow_private
        self._ca = ca
        self._patience = patience
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()
        self._made: httpx.Client | None = None

    def look(self, url: str, sniff: bool = False, known: Looked | None = None) -> Looked:
        """Raises `WebError`. `sniff`: the format is looked at, in the first bytes. `known`: what was said before, which
        is asked for."""
        asked = {"If-None-Match": known.etag} if known and known.etag else {}

        def by_head() -> Looked | None:
            with self._answer("HEAD", url, asked) as answer:
                if known and answer.status_code == 304:
                    return known
                # Many servers refuse HEAD, in many ways, and some sign a URL for GET alone.
                meant = answer.status_code in (200, 206, *_BUSY) and answer.status_code != 500
                return _looked(_checked(answer)) if meant else None

        def by_first_bytes() -> Looked:
            with self._answer("GET", url, {"Range": f"bytes=0-{SNIFFED - 1}", **asked}) as answer:
                if known and answer.status_code == 304:
                    return known
                if answer.status_code == 416:
                    return _looked(answer)
                looked = _looked(_checked(answer))
                return replace(looked, suffix=suffix_of(next(answer.iter_bytes(SNIFFED), b"")))

        return self._patiently(url, by_first_bytes if sniff else lambda: by_head() or by_first_bytes())

    def fetch(self, url: str, file: Path, version: str) -> None:
        """Writes the picture into `file`. Raises `WebError`, and `OSError` where the file cannot be written.

        SOURCE_CHANGED where it is not the `version` that was looked at.
        """
        other = self._patiently(url, lambda: self._got(url, file, lambda found: found.version == version))
        if other and self._differs_by_method(url, version, other.version):
            other = self._patiently(url, lambda: self._got(url, file, lambda found: found == other))
        elif other and self._etags_vary(url, other):
            other = self._patiently(url, partial(self._got, url, file, other.is_as_old_as))
        if other:
            raise WebError(Code.SOURCE_CHANGED)

    def has_changed(self, url: str, size: int, version: str) -> bool:
        """Since that was said of it. Raises `WebError`."""
        looked = self.look(url)
        return looked.size != size or (looked.version != version and not self._etags_vary(url, looked))

    def _got(self, url: str, file: Path, is_wanted: Callable[[Looked], bool]) -> Looked | None:
        """None where the picture is in `file`, else what is there in its place."""
        began = time.monotonic()
        with self._answer("GET", url) as answer:
            looked = _looked(_checked(answer))
            if not is_wanted(looked):
                return looked
            got, beginning = 0, b""
            with file.open("wb") as out:
                for chunk in answer.iter_bytes(_CHUNK):
                    beginning = beginning or chunk[:1024]
                    got += len(chunk)
                    if got > LARGEST:
                        raise WebError(Code.TOO_LARGE)
                    if time.monotonic() - began > LONGEST:
                        raise _AgainError(Code.HOST_UNREACHABLE, f"It took longer than {LONGEST:.0f} seconds.")
                    out.write(chunk)
        encoded = "content-encoding" in answer.headers
        if looked.size and got != looked.size and not encoded:
            raise _AgainError(Code.HOST_UNREACHABLE, f"{got:,} bytes came of {looked.size:,}.")
        if is_page(beginning):
            raise WebError(Code.UNDECODABLE, "The server answered with a page (HTML), and not with a picture.")
        return None

    def _etags_vary(self, url: str, looked: Looked) -> bool:
        """Whether the same file has another ETag in each answer, as from several servers behind one name.

        Raises `WebError` where only the ETag could tell that it is the same.
        """
        for _ in range(_LOOKS):
            again = self.look(url)
            if again.version != looked.version:
                if not again.modified:
                    raise WebError(Code.SOURCE_CHANGED, _UNSTEADY)
                return again.is_as_old_as(looked)
        return False

    def _differs_by_method(self, url: str, by_head: str, by_get: str) -> bool:
        """Whether HEAD still names the one version and GET the other: then nothing has changed."""
        return self.look(url).version == by_head and self.look(url, sniff=True).version == by_get

    # -- one request -----------------------------------------------------------------------------------------------

    @contextmanager
    def _answer(self, method: str, url: str, headers: dict[str, str] | None = None) -> Iterator[httpx.Response]:
        """The answer to a request, once no redirect is left. Its body is read by the caller."""
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        for _ in range(MOST_REDIRECTS + 1):
            with self._client().stream(method, url, headers=sent) as answer:
                if not (answer.has_redirect_location and answer.status_code in (301, 302, 303, 307, 308)):
                    yield answer
                    return
                url = redirected(url, answer.headers["location"])
        raise WebError(Code.REDIRECT_REFUSED, f"It is redirected more than {MOST_REDIRECTS} times.")

    def _patiently(self, url: str, ask: Callable[[], Thing]) -> Thing:
        """Up to the end of patience: with the pauses that the server asks for, and never too many on one host."""
        host = self._host(url)
        for pause in (*self._patience.pauses, None):
            with host.slots:
                self._rest(host)
                try:
                    found = self._translated(ask)
                except _AgainError as error:
                    if pause is None:
                        host.lost += 1
                        if host.lost >= MOST_LOST:
                            host.given_up = error.code, str(error)
                        raise WebError(error.code, str(error)) from None
                    wait = min(error.after, self._patience.longest_wait) or pause * random.uniform(0.5, 1.0)
                    if error.by_host:
                        host.rests_until = max(host.rests_until, time.monotonic() + wait)
                        wait = 0.0
                else:
                    host.lost = 0
                    return found
            time.sleep(wait)
        raise AssertionError("The last attempt returns or raises.")

    def _rest(self, host: _Host) -> None:
        if host.given_up:
            raise WebError(*host.given_up)
        while (wait := host.rests_until - time.monotonic()) > 0:
            time.sleep(min(wait, 0.5))
            if host.given_up:
                raise WebError(*host.given_up)

    def _translated(self, ask: Callable[[], Thing]) -> Thing:
        import httpx

        try:
            return ask()
        except httpx.InvalidURL:
            raise WebError(Code.URL_UNSUPPORTED, "It is no URL.") from None
        except httpx.HTTPError as error:
            words = " ".join(str(error).split()) or type(error).__name__
            if "SSL: " in words:
                fault, mend = tls_fault(words)
                mend = mend or "Name the CA with SOURCE_CA_BUNDLE."
                raise WebError(Code.HOST_UNREACHABLE, f"No TLS connection to the server: {fault}. {mend}") from None
            raise _AgainError(Code.HOST_UNREACHABLE, f"{words.rstrip('.')}.") from None

    def _host(self, url: str) -> _Host:
        name = urlsplit(url).netloc.rpartition("@")[2].lower()
        with self._lock:
            return self._hosts.setdefault(name, _Host())

    def _client(self) -> httpx.Client:
        with self._lock:
            if self._made is None:
                self._made = make_client(self._allow_private, self._ca, self._patience)
            return self._made


def _checked(answer: httpx.Response) -> httpx.Response:
    """Raises `WebError`, or `_AgainError` where the server is busy."""
    status = answer.status_code
    if status in _BUSY:
        raise _AgainError(Code.HOST_BUSY, f"The server says {status}.", _retry_after(answer), status in (429, 503))
    if status in (404, 410):
        raise WebError(Code.SOURCE_MISSING, f"The server says {status}.")
    if status == 407:
        raise WebError(Code.HOST_REFUSED, "The proxy says 407: it wants a user and a password, or others.")
    if status in (401, 403):
        raise WebError(Code.HOST_REFUSED, f"The server says {status}: it wants a key, or another one.")
    if status not in (200, 206):
        raise WebError(Code.HOST_REFUSED, f"The server says {status}.")
    return answer


def _looked(answer: httpx.Response) -> Looked:
    """Raises `WebError` where there is too much of it."""
    headers = answer.headers
    size = headers.get("content-length", "")
    if answer.status_code in (206, 416):
        size = headers.get("content-range", "").rpartition("/")[2]
    if "content-encoding" in headers:
        size = ""
    version = headers.get("etag", "").replace('"', "") or headers.get("last-modified", "")
    # The first digits of a number that no table holds are too many bytes, too.
    known = int(size[:_DIGITS]) if size.isdecimal() else 0
    if known > LARGEST:
        raise WebError(Code.TOO_LARGE)
    return Looked(known, version, modified=headers.get("last-modified", ""))


def _retry_after(answer: httpx.Response) -> float:
    """Seconds: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after"""
    words = answer.headers.get("retry-after", "").strip()
    if words.isdecimal():
        return float(words)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(words).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
