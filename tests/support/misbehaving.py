"""A store that misbehaves: for each request a function says what it answers, or does to the connection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from tests.support.answering import Answer

BUSY = Answer(503, b"<Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>")
STORED = Answer(200, b"<ListBucketResult><Name>bucket</Name></ListBucketResult>", {"ETag": '"0"'})
"""As good for a listing."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]


def silent_until(over: threading.Event) -> Callable[[Request], None]:
    """Takes every request, and answers none."""

    def answer(_: Request) -> None:
        over.wait(60)

    return answer


class Misbehaving:
    """A context manager. `answer` may wait; where it gives None, the connection is dropped. `requests`: all so far."""

    def __init__(self, answer: Callable[[Request], Answer | None]) -> None:
        self.requests = requests = list[Request]()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers)
                requests.append(request)
                said = answer(request)
                if said is None:
                    self.close_connection = True
                    return
                self.send_response(said.status)
                for name, value in {"Content-Length": str(len(said.body)), **said.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(said.body)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that is killed hangs up."""

        self._server = Server(("127.0.0.1", 0), Handler)

    @property
    def store(self) -> Store:
        return Store(
            url=f"http://127.0.0.1:{self._server.server_port}", credentials=AccessKey("AKEXAMPLE", "a-secret-key")
        )

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
