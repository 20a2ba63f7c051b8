"""An HTTP proxy: it passes requests on, opens tunnels (CONNECT), and keeps a record of what it was asked for."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


@contextmanager
def web_proxy(refusal: str = "") -> Iterator[tuple[str, list[str]]]:
    """Its URL, and the first line of each request. `refusal`: its only answer, such as `403 Forbidden`."""
    asked: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline().decode().strip()
            if not line:
                return
            asked.append(line)
            headers = b""
            while (header := self.rfile.readline()) not in (b"\r\n", b""):
                headers += header
            if refusal:
                self.wfile.write(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                return
            method, target, version = line.split()
            place = urlsplit(target if method != "CONNECT" else f"//{target}")
            with socket.create_connection((place.hostname or "", place.port or 80), 10) as server:
                if method == "CONNECT":
                    self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    # One request for each connection, so that the next one comes past here.
                    head = f"{method} {place.path} {version}\r\nConnection: close\r\n".encode()
                    server.sendall(head + headers + b"\r\n")
                back = threading.Thread(target=_pump, args=(server, self.connection))
                back.start()
                if method == "CONNECT":
                    _pump(self.connection, server)
                back.join()

    class Proxy(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Proxy(("127.0.0.1", 0), Handler) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_address[1]}", asked
        proxy.shutdown()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Until either side is closed."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
