"""A TCP proxy that keeps all that passes through it, in both directions."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class Tap:
    """A context manager. `address`: host:port to connect to in place of `upstream`. `heard`: what went each way."""

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.heard: list[bytearray] = []
        self._open: list[socket.socket] = []

    @property
    def address(self) -> str:
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._open):
            with suppress(OSError):  # It may have been hung up already.
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):  # It is closed.
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._upstream)
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        heard = bytearray()
        self.heard.append(heard)
        with suppress(OSError):  # Somebody hung up in the middle of a word.
            while data := one.recv(65536):
                heard += data
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
