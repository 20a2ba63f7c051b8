"""A folder over HTTP, for a peer that reads addresses: a process of its own, so that its CPU can be told apart.

Prints its port. A picture of some MB costs it about 2 ms of CPU, and the peer that reads it some 100.
"""

from __future__ import annotations

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Handler(SimpleHTTPRequestHandler):
    def copyfile(self, source: Any, outputfile: Any) -> None:
        # By the kernel: copying by Python would take a core from the peer.
        self.connection.sendfile(source)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    # The peer opens a connection for each picture, hundreds at a time.
    request_queue_size = 1024


def main(folder: str) -> None:
    with _Server(("127.0.0.1", 0), partial(_Handler, directory=folder)) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
