"""The gallery on this machine alone: a server on loopback that reads what the page asks for from the store, signed.

For who has no nginx before the store. It admits what `imagehaul nginx` admits: the data set's images, thumbnails and
crops, and its gallery. `/` leads to the gallery of the run that is current when it is asked for.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from imagehaul.errors import HaulError
from imagehaul.layout import GALLERY, RENDITION_KINDS, RUN_NAME, Layout
from imagehaul.ports import checked_port
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import is_missing
from imagehaul.store.explanations import explain
from imagehaul.text import printable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_LOG = logging.getLogger(__name__)
_READ_AT_ONCE = 1 << 16
_PASSED_ON = {"ContentType": "Content-Type", "ContentLength": "Content-Length", "ETag": "ETag"}


class GalleryServer(ThreadingHTTPServer):
    """Serves until `shutdown`. `current`: gives the URI of the gallery that readers use; it may raise HaulError.

    `port`: 0 = a free one. Raises HaulError where the port is taken, or there is none of that number.
    """

    daemon_threads = True

    def __init__(self, store: Store, layout: Layout, current: Callable[[S3Client, Layout], str], port: int = 0) -> None:
        self.store, self.layout, self.client, self._current = store, layout, store.client(), current
        folders = "|".join(re.escape(folder) for folder in RENDITION_KINDS)
        self.admitted = re.compile(rf"(?:{folders})(?s:.+)|exports/{RUN_NAME.pattern}/{GALLERY}.+")
        try:
            super().__init__(("127.0.0.1", checked_port(port)), _Handler)
        except OSError as error:
            raise HaulError(f"Port {port} cannot be used: {error.strerror}. Name another with --port.") from error

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def index(self) -> str:
        """Path of the current gallery's page. Raises HaulError where there is none."""
        uri = self._current(self.client, self.layout)
        return "/" + quote(self.layout.below_remote_save(uri.removeprefix(self.layout.uri(""))))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up in the middle of a picture is no event. Whatever else comes here is a bug."""
        if not isinstance(sys.exception(), TimeoutError | ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: GalleryServer
    protocol_version = "HTTP/1.1"
    server_version = "imagehaul"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are not logged."""

    def _answer(self, with_body: bool) -> None:
        host, _, _ = (self.headers.get("Host") or "").rpartition(":")
        if host not in ("127.0.0.1", "localhost"):
            # Another site's name that leads to this machine: its pages must not read the store.
            return self._say(421, "Open this page as http://127.0.0.1.")
        path = self.path.partition("?")[0]
        try:
            if path == "/":
                return self._redirect(self.server.index())
            layout = self.server.layout
            key = layout.prefix + unquote(path[1:], errors="surrogateescape")
            if not key.startswith(layout.root) or not self.server.admitted.fullmatch(key.removeprefix(layout.root)):
                return self._say(404, "There is nothing here.")
            return self._pass_on(key, with_body)
        except HaulError as error:
            return self._say(404, str(error))
        except (TimeoutError, ConnectionError):
            raise
        except Exception as error:
            if is_missing(error):
                return self._say(404, "There is nothing here.")
            return self._say(502, str(explain(error, "read", "from the store", self.server.store.url)))

    def _pass_on(self, key: str, with_body: bool) -> None:
        client, place = self.server.client, {"Bucket": self.server.layout.bucket, "Key": key}
        ask: Callable[..., Any] = client.get_object if with_body else client.head_object
        answer = ask(**place)
        self.send_response(200)
        for field, header in _PASSED_ON.items():
            self.send_header(header, str(answer[field]))
        self.send_header("Cache-Control", "private, max-age=60")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if with_body:
            self._copy(answer["Body"], key)

    def _copy(self, body: Any, key: str) -> None:
        """Where the store breaks off, so does the connection: it is too late for another status."""
        while True:
            try:
                part = body.read(_READ_AT_ONCE)
            except Exception as error:
                self.close_connection = True
                store, uri = self.server.store, self.server.layout.uri(key)
                _LOG.warning("%s", explain(error, "read", uri, store.url))
                return
            if not part:
                return
            self.wfile.write(part)

    def _redirect(self, path: str) -> None:
        self.send_response(302)
        self.send_header("Location", path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _say(self, status: int, text: str) -> None:
        body = (printable(text) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
