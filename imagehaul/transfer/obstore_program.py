"""The program behind the engine through obstore: it takes orders, and says a line for each object.

A process of its own, for obstore takes its CA from the environment of the process alone, and because a process
can be ended when the store falls silent. It is started by `imagehaul.transfer.obstore_engine` without site-packages, so
it imports nothing of this project, and of the library little. Each line of its standard input names a file with orders,
in hex: all that they say of the store is the same each time. Connections stay open from one to the next.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
import threading
from collections import deque
from datetime import timedelta
from typing import Any

_LONGEST_WORDS = 1000


class _ChangedError(Exception):
    """The file's bytes are not those that were planned."""


def main() -> None:
    store = None
    for line in sys.stdin.buffer:
        with open(bytes.fromhex(line.decode()), "rb") as file:  # noqa: PTH123 - without the import of pathlib
            # Built in, and both ends are the same Python.
            orders = marshal.load(file)
        store = store or _opened(orders)
        _say("ready")
        _work_through(store, orders)
        _say("done")


def _opened(orders: dict[str, Any]) -> Any:
    sys.path.append(orders["packages"])
    from obstore.store import S3Store

    return S3Store(
        orders["bucket"],
        config=orders["config"],
        client_options=orders["client"],
        retry_config={
            "max_retries": orders["retries"],
            "backoff": {"max_backoff": timedelta(seconds=2)},
            "retry_timeout": timedelta(seconds=60),
        },
    )


def _work_through(store: Any, orders: dict[str, Any]) -> None:
    import obstore

    attributes = orders["attributes"]

    def put(key: str, file: str, content_type: str, size: int, sha256: str, version: str) -> str:
        taken = obstore.put(
            store,
            key,
            _planned_bytes(file, size, sha256, version),
            attributes={"Content-Type": content_type, **attributes},
            use_multipart=False,
        )
        return (taken["e_tag"] or "").strip('"')

    objects: deque[tuple[int, Any]] = deque(enumerate(orders["objects"]))

    def send() -> None:
        while objects:
            try:
                number, item = objects.popleft()
            except IndexError:
                return
            try:
                _say(f"{number} sent {put(*item)}")
            except Exception as error:
                _say(f"{number} {_words(error)}")

    workers = [threading.Thread(target=send) for _ in range(min(orders["threads"], len(objects)))]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()


def _planned_bytes(file: str, size: int, sha256: str, version: str) -> bytes:
    """The whole file, read once: what is compared here is what is signed and sent.

    A file that nobody has written to since the source was listed has the bytes that were hashed: its ctime says so,
    which cannot be set back. Any other is hashed again.
    """
    with open(file, "rb", buffering=0) as stream:  # noqa: PTH123 - without the import of pathlib
        data = stream.read(size + 1)
        status = os.fstat(stream.fileno())
    # As `imagehaul.sources.local_file.version_of` has it.
    untouched = version == f"{status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
    if len(data) != size or not (untouched or hashlib.sha256(data, usedforsecurity=False).hexdigest() == sha256):
        raise _ChangedError("The file is not the one that was planned.")
    return data


def _words(error: Exception) -> str:
    """The first paragraph: below it obstore shows its inner state."""
    said = str(error).partition("\n\nDebug source")[0] or type(error).__name__
    return " ".join(said.split())[:_LONGEST_WORDS]


def _say(line: str) -> None:
    """At once and whole, whichever thread says it."""
    os.write(1, f"{line}\n".encode("utf-8", "replace"))


if __name__ == "__main__":
    main()
