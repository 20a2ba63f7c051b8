"""The runs of many data sets through one deployment, a few at a time, until all have ended."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from httpx import HTTPError
from prefect import get_run_logger, runtime
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling

from imagehaul.errors import HaulError
from imagehaul.flows.prefect_server import is_away, ui_url

POLL_SECONDS = 2.0
PATIENCE = 3600.0
"""For so many seconds Prefect's API may not answer: a server is renewed, a network is down. What was begun goes on."""
LONGEST_PENDING = 600.0
"""Seconds after which it is said that a run was handed to a worker and does not begin. Prefect leaves it so for ever
where the run's process could not reach the server at its start."""


def run_all(
    client: SyncPrefectClient, deployment: UUID, asked: Sequence[dict[str, Any]], at_once: int
) -> list[FlowRun]:
    """The ended runs, in the order of what was `asked`, the parameters of each.

    Ended from outside, it ends the runs that it began. Raises `HaulError` where Prefect's API does not answer for
    `PATIENCE`, or the deployment is gone.
    """
    runs = _Runs(client, deployment, asked)
    answered = time.monotonic()
    try:
        while runs.go_on:
            try:
                runs.begin(at_once)
                time.sleep(POLL_SECONDS)
                runs.look()
                answered = time.monotonic()
            except (HTTPError, RuntimeError) as error:
                if not is_away(error):
                    raise
                if time.monotonic() - answered > PATIENCE:
                    minutes = PATIENCE / 60
                    raise HaulError(
                        f"Prefect's API did not answer for {minutes:.0f} minutes ({type(error).__name__}). What was "
                        "begun goes on; run this again for the rest: what is in the store is not sent twice."
                    ) from error
                get_run_logger().warning("Prefect's API does not answer (%s): it is asked again.", type(error).__name__)
                time.sleep(POLL_SECONDS)
    except HaulError:
        raise  # Nobody ended this from outside, and what was begun goes on.
    except BaseException:
        runs.cancel()
        raise
    return runs.in_order()


class _Runs:
    """Those that wait, are at work and have ended, each by its place in what was asked."""

    def __init__(self, client: SyncPrefectClient, deployment: UUID, asked: Sequence[dict[str, Any]]) -> None:
        self._client, self._deployment, self._asked = client, deployment, asked
        self._waiting = deque(range(len(asked)))
        self._at_work: dict[int, FlowRun] = {}
        self._ended: dict[int, FlowRun] = {}
        self._said: set[int] = set()

    @property
    def go_on(self) -> bool:
        return len(self._ended) < len(self._asked)

    def begin(self, at_once: int) -> None:
        while self._waiting and len(self._at_work) < at_once:
            place = self._waiting[0]
            # A run that was begun, but whose answer was lost, is not begun twice.
            key = f"{runtime.flow_run.id}-{runtime.flow_run.run_count}-{place}"
            try:
                run = run_deployment(self._deployment, parameters=self._asked[place], timeout=0, idempotency_key=key)
            except ObjectNotFound:
                raise HaulError(
                    "The deployment was removed while it was in use. Make it with imagehaul deploy."
                ) from None
            assert isinstance(run, FlowRun)
            self._at_work[place] = run
            self._waiting.popleft()

    def look(self) -> None:
        for place, begun in list(self._at_work.items()):
            run = self._as_it_is(begun)
            self._say_if_it_does_not_begin(place, run)
            if run.state and run.state.is_final():
                del self._at_work[place]
                self._ended[place] = run
                get_run_logger().info(
                    "%d of %d: %s %s. %s",
                    len(self._ended),
                    len(self._asked),
                    self._asked[place]["dataset"],
                    run.state_name,
                    run.state.message or "",
                )

    def _say_if_it_does_not_begin(self, place: int, run: FlowRun) -> None:
        if place in self._said or not run.state or not run.state.is_pending():
            return
        seconds = (datetime.now(UTC) - run.state.timestamp).total_seconds()
        if seconds > LONGEST_PENDING:
            self._said.add(place)
            get_run_logger().warning(
                "%s was handed to a worker %.0f minutes ago and has not begun; it may be lost: %s/runs/flow-run/%s. "
                "Cancel it there if so, and the others go on.",
                self._asked[place]["dataset"],
                seconds / 60,
                ui_url(),
                run.id,
            )

    def _as_it_is(self, begun: FlowRun) -> FlowRun:
        try:
            return self._client.read_flow_run(begun.id)
        except ObjectNotFound:
            gone: State[Any] = Cancelled(name="Deleted", message="Its flow run was deleted before its end.")
            return begun.model_copy(update={"state": gone, "state_name": gone.name, "state_type": gone.type})

    def cancel(self) -> None:
        for run in self._at_work.values():
            with suppress(HTTPError, RuntimeError, ObjectNotFound):
                self._client.set_flow_run_state(run.id, Cancelling())

    def in_order(self) -> list[FlowRun]:
        return [self._ended[place] for place in range(len(self._asked))]
