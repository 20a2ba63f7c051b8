"""Runs that wait give their slot back: they end their process, and begin anew when it is their turn.

Prefect starts a run of a deployment again when its state is Scheduled. A subflow, or a run without a deployment, has
nobody who would start it: that one waits in its process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

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
from prefect.states import Cancelled, Scheduled

from imagehaul.errors import HeldError
from imagehaul.flows.prefect_server import not_in_the_way, ui_url

WAITING = "Waiting for the data set"
"""The name of the state, as the UI shows it."""
LONGEST_MINUTES = 5
"""Until the next look. A run that ends wakes those that wait for its data set; this is for what no flow run held."""
SOON = timedelta(seconds=15)
"""A run that is due by then is left alone: a worker may be starting it already."""


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
        wanted: State[Any] = Scheduled(scheduled_time=again, name=WAITING, message=message)
        state = _leave(client, UUID(runtime.flow_run.id), wanted)
    raise Pause(state=state)


def _leave(client: SyncPrefectClient, run: UUID, wanted: State[Any]) -> State[Any] | None:
    """The state in which the run leaves its process: as it is `wanted`, unless somebody has ended it meanwhile."""
    state = client.read_flow_run(run).state
    if state and state.is_running():
        # While it names a process, which is gone then, the server would wait for that one's end before a cancel counts.
        client.request(
            "PATCH", "/flow_runs/{id}", path_params={"id": run}, json={"infrastructure_pid": None}
        ).raise_for_status()
        # Not forced: the server refuses where it is being cancelled by now.
        state = client.set_flow_run_state(run, wanted).state
    if state and state.is_cancelling():
        # Nothing of it is at work, and the worker says so only of processes that it has ended itself.
        state = client.set_flow_run_state(run, Cancelled(message="Cancelled while its data set was held.")).state
    return state


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
        for run in sorted(_runs(client, dataset, WAITING), key=lambda run: str(run.created)):
            seen, state = run.state, client.read_flow_run(run.id).state
            if seen and state and state.id == seen.id:
                if (due := state.state_details.scheduled_time) and due > datetime.now(UTC) + SOON:
                    free: State[Any] = Scheduled(message="The data set is free.")
                    client.set_flow_run_state(run.id, free)
                return


def _runs(client: SyncPrefectClient, dataset: str, state: str) -> list[FlowRun]:
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            tags=FlowRunFilterTags(all_=[f"dataset:{dataset}"]),
            state=FlowRunFilterState(name=FlowRunFilterStateName(any_=[state])),
        )
    )
