"""A store that misbehaves: for each request a function says what it answers, or does to the connection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from tests.support.answering import Answer, LocalServer, Request

BUSY = Answer(503, b"<Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>")
STORED = Answer(200, b"<ListBucketResult><Name>bucket</Name></ListBucketResult>", {"ETag": '"0"'})
"""As good for a listing."""

CUT_OFF = Answer(200, b"who", {"Content-Length": "5", "Connection": "close"})
SILENT = Answer(200, b"who", {"Content-Length": "5"})
"""The body begins, and no more comes."""


def after(first: Sequence[Answer], then: Answer) -> Callable[[Request], Answer]:
    """Gives these answers in their order, and `then` to all further requests."""
    left = list(first)
    return lambda _: left.pop(0) if left else then


def silent_until(over: threading.Event) -> Callable[[Request], None]:
    """Takes every request, and answers none."""

    def answer(_: Request) -> None:
        over.wait(60)

    return answer


class Misbehaving(LocalServer):
    """`answer` may wait; where it gives None, the connection is dropped. `requests`: all so far."""

    def __init__(self, answer: Callable[[Request], Answer | None]) -> None:
        self.requests = requests = list[Request]()

        def heard(request: Request) -> Answer | None:
            requests.append(request)
            return answer(request)

        super().__init__(heard)

    @property
    def store(self) -> Store:
        return Store(url=f"http://127.0.0.1:{self.port}", credentials=AccessKey("AKEXAMPLE", "a-secret-key"))
