"""A bar in the Prefect UI that shows how far a run is, and never stands in the run's way."""

from __future__ import annotations

import threading
from contextvars import copy_context
from typing import Any

from httpx import HTTPError
from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

LAST_SECONDS = 5.0
"""So long is waited at the end for the bar to be full."""


class ProgressArtifact:
    """Made and moved by a thread, one request at a time and always to the latest place.

    Prefect's client asks a server that is away again and again, for a minute: what is shown must neither delay nor end
    what is done.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._id: Any = None
        self._latest: tuple[float, str] | None = None
        self._thread: threading.Thread | None = None
        self._changing = threading.Lock()
        self._has_failed = False

    def show(self, percent: float, description: str) -> None:
        with self._changing:
            self._latest = percent, description
            if self._thread is None:
                # In a context of its own, which knows the flow run.
                self._thread = threading.Thread(target=copy_context().run, args=(self._move,), daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Until the latest is shown, if that does not take long."""
        if thread := self._thread:
            thread.join(LAST_SECONDS)

    def _move(self) -> None:
        while True:
            with self._changing:
                if self._latest is None:
                    self._thread = None
                    return
                (percent, description), self._latest = self._latest, None
            try:
                if self._id is None:
                    self._id = create_progress_artifact(progress=percent, key=self._key, description=description)
                else:
                    update_progress_artifact(artifact_id=self._id, progress=percent, description=description)
            except (HTTPError, RuntimeError) as error:
                if not self._has_failed:
                    self._has_failed = True
                    get_run_logger().warning(
                        "The progress could not be shown (%s: %s). The work goes on.", type(error).__name__, error
                    )
