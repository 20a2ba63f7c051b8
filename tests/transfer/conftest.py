"""Programs that wait for a next batch are ended after each test: engines there are opened, and never closed."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest


def waiting_senders() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if any(word.endswith("obstore_program.py") for word in child.cmdline())]


@pytest.fixture(autouse=True)
def _no_sender_waits() -> Iterator[None]:
    yield
    for program in waiting_senders():
        program.kill()
