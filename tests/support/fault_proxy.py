"""A proxy between the clients and the real store that does to single requests what networks and stores do.

A fault is a function that is given the `Exchange` and decides what becomes of it; without one the request goes to
the store and its answer comes back. Signatures stay valid: the store sees the very headers that the client signed.
"""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from imagehaul.store.endpoint import Store

_TIME_IN_XML = re.compile(rb"(<(?:LastModified|Initiated)>)([^<]+)(<)")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Exchange:
    """One request on its way, and what can be done with it. `key`: without its bucket and not percent-encoded.

    `client`: the address that it came from.
    """

    def __init__(self, handler: _Handler, number: int) -> None:
        self._handler = handler
        self.number = number
        self.method = handler.command
        self.headers = handler.headers
        self.client = str(handler.client_address[0])
        parts = urlsplit(handler.path)
        self.path = parts.path
        self.key = unquote(parts.path).lstrip("/").partition("/")[2]
        self.query = parse_qs(parts.query, keep_blank_values=True)
        self.access_key = handler.headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0]
        self.body = b""
        self.canned: Answer | None = None
        self.over = handler.server.over

    @property
    def sends(self) -> bool:
        """Whether it carries the bytes of an image, a thumbnail or a crop."""
        return self.method == "PUT" and any(f"/{kind}/" in self.key for kind in ("images", "thumbnails", "crops"))

    @property
    def lists(self) -> bool:
        return self.method == "GET" and "list-type" in self.query

    def receive(self, share: float = 1.0) -> None:
        """Reads the request's body, or the first part of it."""
        size = int(int(self._handler.headers.get("Content-Length", 0)) * share)
        self.body = self._handler.rfile.read(size)
        if len(self.body) < size:
            # As the store would see it: a request that was never finished, and not one that it waits for.
            raise ConnectionAbortedError("The client died in the middle of its request.")

    def forward(self, change: Callable[[bytes], bytes] = bytes) -> Answer:
        """What the store says to it. `change`: what becomes of the body on its way."""
        self.receive()
        return self.canned or self._handler.upstream(change(self.body))

    def reply(self, answer: Answer, share: float = 1.0, pause: float = 0.0) -> None:
        """Gives the answer, with `share` of its body only, and waiting `pause` seconds after each byte of it all."""
        head = f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, '')}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        body = b"" if self.method == "HEAD" else answer.body[: int(len(answer.body) * share)]
        raw = head.encode("latin-1") + b"\r\n" + body
        if not pause:
            self._handler.wfile.write(raw)
        for byte in raw if pause else b"":
            self._handler.wfile.write(bytes([byte]))
            if self.over.wait(pause):
                return
        if share < 1:
            self._handler.close_connection = True

    def reset(self) -> None:
        """Ends the connection with a TCP reset."""
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._handler.close_connection = True


Fault = Callable[[Exchange], None]


def reset_before(exchange: Exchange) -> None:
    exchange.reset()


def reset_within(exchange: Exchange) -> None:
    exchange.receive(0.5)
    exchange.reset()


def reset_after(exchange: Exchange) -> None:
    exchange.receive()
    exchange.reset()


def reply_lost(exchange: Exchange) -> None:
    """The store has the object, and the client never hears of it."""
    exchange.forward()
    exchange.reset()


def cut_off(exchange: Exchange) -> None:
    """The answer's length is announced, and half of it comes."""
    exchange.reply(exchange.forward(), share=0.5)


def silence(exchange: Exchange) -> None:
    exchange.receive()
    exchange.over.wait()
    exchange.reset()


def drip(exchange: Exchange) -> None:
    exchange.reply(exchange.forward(), pause=1.0)


def says(status: int, code: str) -> Fault:
    """The store's error in place of its work."""

    def answer(exchange: Exchange) -> None:
        exchange.receive()
        body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>as told</Message></Error>'.encode()
        exchange.reply(Answer(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))], body))

    return answer


def flipped(data: bytes) -> bytes:
    """One bit, in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :] if data else data


def flips_on_the_way(exchange: Exchange) -> None:
    exchange.reply(exchange.forward(flipped))


def flips_on_the_way_back(exchange: Exchange) -> None:
    """The same length, and the same ETag in the headers: as an object that rotted behind its ETag."""
    said = exchange.forward()
    exchange.reply(replace(said, body=flipped(said.body)))


_ENTRY = re.compile(rb"<Contents>.*?</Contents>", re.DOTALL)


class TwoPages:
    """A fault that breaks each listing into two pages. `second`: what becomes of the second one; None: it comes."""

    def __init__(self, second: Fault | None) -> None:
        self._second = second
        self._rest: dict[str, Answer] = {}
        self.asked = 0

    def __call__(self, exchange: Exchange) -> None:
        prefix = exchange.query["prefix"][0]
        if "continuation-token" in exchange.query:
            self.asked += 1
            exchange.canned = self._rest[prefix]
            return self._second(exchange) if self._second else exchange.reply(exchange.forward())
        said = exchange.forward()
        entries = _ENTRY.findall(said.body)
        first, rest = entries[: len(entries) // 2], entries[len(entries) // 2 :]
        self._rest[prefix] = _of_length(said, said.body.replace(b"".join(first), b""))
        more = b"<IsTruncated>true</IsTruncated><NextContinuationToken>second</NextContinuationToken>"
        body = said.body.replace(b"".join(rest), b"").replace(b"<IsTruncated>false</IsTruncated>", more)
        return exchange.reply(_of_length(said, body))


def _of_length(said: Answer, body: bytes) -> Answer:
    headers = [item for item in said.headers if item[0].lower() != "content-length"]
    return Answer(said.status, [*headers, ("Content-Length", str(len(body)))], body)


def without_a_token(exchange: Exchange) -> None:
    """It says that there is more, and not where: boto3 takes it for the last page."""
    said = exchange.forward()
    exchange.reply(_of_length(said, said.body.replace(b"<IsTruncated>false", b"<IsTruncated>true")))


def clock_off(seconds: float) -> Fault:
    """All times that the store tells are wrong by so much."""
    by = timedelta(seconds=seconds)

    def in_header(name: str, value: str) -> str:
        if name.lower() not in ("date", "last-modified"):
            return value
        return format_datetime((parsedate_to_datetime(value) + by).astimezone(UTC), usegmt=True)

    def in_xml(found: re.Match[bytes]) -> bytes:
        moved = datetime.fromisoformat(found[2].decode()) + by
        return found[1] + moved.strftime("%Y-%m-%dT%H:%M:%S.000Z").encode() + found[3]

    def answer(exchange: Exchange) -> None:
        said = exchange.forward()
        body = _TIME_IN_XML.sub(in_xml, said.body) if said.body.startswith(b"<?xml") else said.body
        headers = [(name, in_header(name, value)) for name, value in said.headers if name.lower() != "content-length"]
        length = next((value for name, value in said.headers if name.lower() == "content-length"), "0")
        length = length if exchange.method == "HEAD" else str(len(body))
        exchange.reply(Answer(said.status, [*headers, ("Content-Length", length)], body))

    return answer


class FaultProxy:
    """A context manager. `fault` is asked for each request; None lets it through. `hit`: requests that met one.

    `host`: the address of this machine that it listens at.
    """

    def __init__(
        self, upstream: Store, fault: Callable[[Exchange], Fault | None] = lambda _: None, host: str = "127.0.0.1"
    ) -> None:
        self.fault = fault
        self.hit = 0
        self._upstream = upstream
        self._server = _Server(self, host, urlsplit(upstream.url).netloc)

    @property
    def store(self) -> Store:
        return replace(self._upstream, url=f"http://{self._server.server_address[0]!s}:{self._server.server_port}")

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.over.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, proxy: FaultProxy, host: str, upstream: str) -> None:
        super().__init__((host, 0), _Handler)
        self.proxy, self.upstream = proxy, upstream
        self.over = threading.Event()
        self.counting = threading.Lock()
        self.requests = 0

    def shutdown_request(self, request: object) -> None:
        """Without the orderly end that would come before a reset."""
        self.close_request(request)  # type: ignore[arg-type]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is killed hangs up; a store that is killed too."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _exchange(self) -> None:
        with self.server.counting:
            self.server.requests += 1
            exchange = Exchange(self, self.server.requests)
            fault = self.server.proxy.fault(exchange)
            self.server.proxy.hit += fault is not None
        if fault:
            fault(exchange)
        else:
            exchange.reply(exchange.forward())

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _exchange

    def upstream(self, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            said = connection.getresponse()
            answer = said.read()
            headers = [(name, value) for name, value in said.getheaders() if name.lower() not in _OF_THE_CONNECTION]
            if self.command != "HEAD" and said.status not in (204, 304):
                headers = [item for item in headers if item[0].lower() != "content-length"]
                headers.append(("Content-Length", str(len(answer))))
            return Answer(said.status, headers, answer)
        finally:
            connection.close()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


_OF_THE_CONNECTION = {"connection", "transfer-encoding", "keep-alive"}
