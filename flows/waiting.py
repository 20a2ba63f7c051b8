"""Runs that wait give their slot back: they end their process, and begin anew when it is their turn.

Prefect starts a run of a deployment again when its state is Scheduled. A subflow, or a run without a deployment, has
nobody who would start it: that one waits in its process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Pause
from prefect.states import Scheduled

from imagehaul.errors import HeldError
from imagehaul.flows.prefect_server import not_in_the_way, ui_url

WAITING = "Waiting for the data set"
"""The name of the state, as the UI shows it."""
LONGEST_MINUTES = 5
"""Until the next look. A run that ends wakes those that wait for its data set; this is for what no flow run held."""


def may_leave() -> bool:
    """Whether somebody will start this run again: it is of a deployment, and no other run calls it."""
    return bool(runtime.deployment.id) and not runtime.flow_run.parent_flow_run_id


def leave_until_free(dataset: str, error: HeldError) -> None:
    """Ends this process; the run says for which other run it waits. Raises `Pause`, which Prefect's engine takes."""
    again = datetime.now(UTC) + timedelta(minutes=min(LONGEST_MINUTES, runtime.flow_run.run_count or 1))
    with get_client(sync_client=True) as client:
        others = [run for run in _runs(client, dataset, "Running") if str(run.id) != runtime.flow_run.id]
        if others:
            held_by = f"Held by the flow run {others[0].name!r}: {ui_url()}/runs/flow-run/{others[0].id}"
        else:
            held_by = str(error).splitlines()[0]
        message = f"{held_by}. Begins when that has ended; looks again at {again:%H:%M} UTC at the latest."
        state: State[Any] = Scheduled(scheduled_time=again, name=WAITING, message=message)
        client.set_flow_run_state(runtime.flow_run.id, state, force=True)
    raise Pause(state=state)


@contextmanager
def waking_others(dataset: str) -> Iterator[None]:
    """Where the block held the data set and lets it go, the run that has waited longest for it begins now."""
    try:
        yield
    except HeldError:
        raise
    except BaseException:
        _wake_next(dataset)
        raise
    else:
        _wake_next(dataset)


def _wake_next(dataset: str) -> None:
    # It looks again by itself, too.
    with not_in_the_way(f"a run that waits for {dataset} could not be told"), get_client(sync_client=True) as client:
        if waiting := _runs(client, dataset, WAITING):
            state: State[Any] = Scheduled(message="The data set is free.")
            client.set_flow_run_state(min(waiting, key=lambda run: str(run.created)).id, state, force=True)


def _runs(client: SyncPrefectClient, dataset: str, state: str) -> list[FlowRun]:
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            tags=FlowRunFilterTags(all_=[f"dataset:{dataset}"]),
            state=FlowRunFilterState(name=FlowRunFilterStateName(any_=[state])),
        )
    )
