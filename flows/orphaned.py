"""Flow runs whose worker died: nobody else will ever say that they have ended."""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Crashed

from imagehaul.flows.prefect_server import all_of

AT_WORK = [StateType.RUNNING, StateType.PENDING, StateType.PAUSED, StateType.CANCELLING]


def mark_orphaned(reason: str) -> list[str]:
    """Marks every run that is said to be at work as crashed, and gives their names. For a server without a worker.

    A suspended run has no process that could be lost: it still waits for its answer.
    """
    at_work = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=AT_WORK)))
    with get_client(sync_client=True) as client:
        runs = all_of(
            lambda limit, offset: client.read_flow_runs(
                flow_run_filter=at_work, sort=FlowRunSort.ID_DESC, limit=limit, offset=offset
            )
        )
        found = [run for run in runs if run.state and not run.state.state_details.pause_reschedule]
        state: State[Any] = Crashed(message=f"{reason} A retry goes on from what is proven.")
        for run in found:
            client.set_flow_run_state(run.id, state, force=True)
    return [run.name for run in found]
