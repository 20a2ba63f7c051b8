"""A web server with pictures: real HTTP, TLS with a private CA, ETags, ranges, and a record of what it was asked."""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Callable

from tests.support.answering import Answer, LocalServer, Request


class WebServer(LocalServer):
    """`files`: what is there, by path with its query. `special`: answers of the test's own, which go first; None = as
    if it were not there. `most_at_once`: requests that were worked on together."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.special: dict[str, Callable[[Request], Answer | None]] = {}
        self.asked: list[Request] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        super().__init__(self._counted, tls)

    def _counted(self, asked: Request) -> Answer:
        with self._lock:
            self.asked.append(asked)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return self._said(asked)
        finally:
            # Before the answer goes out, whose last byte the client may follow with its next request.
            with self._lock:
                self.at_once -= 1

    def bodies(self) -> list[str]:
        """The paths of which a body was asked for."""
        return [asked.path for asked in self.asked if asked.method == "GET"]

    def _said(self, asked: Request) -> Answer:
        said = self.special[asked.path](asked) if asked.path in self.special else None
        if said:
            return said
        if asked.path not in self.files:
            return Answer(404)
        body = self.files[asked.path]
        headers = {"ETag": f'"{hashlib.md5(body).hexdigest()}"', "Content-Type": "image/jpeg"}
        if asked.headers.get("if-none-match") == headers["ETag"]:
            return Answer(304, headers={"ETag": headers["ETag"]})
        first, _, last = asked.headers.get("range", "").removeprefix("bytes=").partition("-")
        if first and body:
            part = body[int(first) : int(last) + 1]
            return Answer(206, part, {**headers, "Content-Range": f"bytes {first}-{last}/{len(body)}"})
        return Answer(200, body, headers)
