"""Whether the Prefect API answers; for those who import Prefect anyway."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from httpx import HTTPError, HTTPStatusError, TimeoutException
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from imagehaul.errors import HaulError

Read = TypeVar("Read")
AT_ONCE = 200
"""The most that a server gives."""


def reach_api() -> None:
    """Starts Prefect's embedded server where no API is configured. Raises `HaulError` where it does not answer."""
    settings = get_current_settings()
    deadline = time.monotonic() + settings.server.ephemeral.startup_timeout_seconds
    while True:
        try:
            with get_client(sync_client=True) as client:
                client.hello().raise_for_status()
            return
        except (HTTPError, RuntimeError, ValueError) as error:  # The last: none is named, and none may be started.
            if isinstance(error, TimeoutException) and not settings.api.url:
                _stop_embedded()
                if time.monotonic() < deadline:
                    continue
            raise _not_answered(error) from error


def _stop_embedded() -> None:
    """Of a server that takes connections and says nothing for 5 s, as on a machine that stalls, Prefect lets go.

    It would start the next one beside it, and this one would stay when the process ends.
    """
    from prefect.server.api.server import SubprocessASGIServer

    SubprocessASGIServer().stop()


@contextmanager
def needing_api(then: str) -> Iterator[None]:
    """For what cannot be done without the API. Raises `HaulError` where it goes away; `then`: what to do after that."""
    try:
        yield
    except (HTTPError, RuntimeError) as error:
        if not is_away(error):
            raise
        raise HaulError(f"{_not_answered(error)} {then}") from error


def _not_answered(error: Exception) -> HaulError:
    where = get_current_settings().api.url or "that Prefect starts by itself"
    return HaulError(
        f"The Prefect API {where} does not answer ({type(error).__name__}).\n"
        "Start it (prefect server start), or correct PREFECT_API_URL."
    )


def is_away(error: BaseException) -> bool:
    """Whether the server may answer later. Prefect's client says by a RuntimeError that it reached nobody."""
    if isinstance(error, HTTPStatusError):
        return error.response.status_code >= 500
    return isinstance(error, HTTPError) or isinstance(error.__cause__, HTTPError)


@contextmanager
def not_in_the_way(missing: str) -> Iterator[None]:
    """For what is only told or shown: how a run ends does not hang on it. `missing`: what follows where it fails."""
    try:
        yield
    except (HTTPError, ObjectNotFound, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not is_away(error):
            raise
        get_run_logger().warning("Prefect's API is away or refuses, so that %s. (%s)", missing, error)


def all_of(read: Callable[[int, int], Sequence[Read]]) -> Iterator[Read]:
    """What `read` gives of an ordered list, by how many at most and from which place on, until no more comes."""
    offset = 0
    while page := read(AT_ONCE, offset):
        yield from page
        offset += len(page)


def ui_url() -> str:
    """Where a browser finds the UI, without a slash at its end."""
    return (get_current_settings().ui_url or "").rstrip("/")
