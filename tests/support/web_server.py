"""A web server with pictures: real HTTP, TLS with a private CA, ETags, ranges, and a record of what it was asked."""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from tests.support.answering import Answer


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)


class WebServer:
    """A context manager. `files`: what is there, by path with its query; `special`: answers of the test's own, which
    go first; None = as if it were not there."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.special: dict[str, Callable[[Asked], Answer | None]] = {}
        self.asked: list[Asked] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()})
                with web._lock:
                    web.asked.append(asked)
                    web.at_once += 1
                    web.most_at_once = max(web.most_at_once, web.at_once)
                try:
                    said = web._said(asked)
                finally:
                    # Before its last byte goes out, which the client may answer with its next request.
                    with web._lock:
                        web.at_once -= 1
                self.send_response(said.status)
                for name, value in {"Content-Length": str(len(said.body)), **said.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(said.body)

            do_GET = do_HEAD = _answer

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 64

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that hangs up is what some tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://localhost:{self._server.server_port}"

    def bodies(self) -> list[str]:
        """The paths of which a body was asked for."""
        return [asked.path for asked in self.asked if asked.method == "GET"]

    def _said(self, asked: Asked) -> Answer:
        said = self.special[asked.path](asked) if asked.path in self.special else None
        if said:
            return said
        if asked.path not in self.files:
            return Answer(404)
        body = self.files[asked.path]
        headers = {"ETag": f'"{hashlib.md5(body).hexdigest()}"', "Content-Type": "image/jpeg"}
        first, _, last = asked.headers.get("range", "").removeprefix("bytes=").partition("-")
        if first and body:
            part = body[int(first) : int(last) + 1]
            return Answer(206, part, {**headers, "Content-Range": f"bytes {first}-{last}/{len(body)}"})
        return Answer(200, body, headers)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
