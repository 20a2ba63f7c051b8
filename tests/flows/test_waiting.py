"""Runs that have left their process to wait: what happens to them meanwhile counts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect import flow, runtime
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import Pause
from prefect.states import Cancelled, Cancelling, Pending, Scheduled

from imagehaul.errors import HeldError
from imagehaul.flows import waiting
from imagehaul.flows.run_labels import tag_run
from imagehaul.flows.waiting import WAITING, leave_until_free, waking_others
from tests.support.prefect_runs import Prefect

pytestmark = pytest.mark.prefect


@pytest.fixture(scope="module")
def client(prefect: Prefect) -> Iterator[SyncPrefectClient]:
    with prefect.used_here() as client:
        yield client


@pytest.fixture
def dataset() -> str:
    return f"set-{uuid.uuid4().hex[:6]}"


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Has something happen just after it was looked which runs there are."""
    looked = waiting._runs

    def between(happens: Callable[[], object]) -> None:
        def look(*asked: Any) -> list[FlowRun]:
            found = looked(*asked)
            happens()
            return found

        monkeypatch.setattr(waiting, "_runs", look)

    return between


def waits(client: SyncPrefectClient, dataset: str, seconds: float = 200) -> FlowRun:
    @flow(name="deliver")
    def later() -> None:
        """Nobody starts it."""

    due = datetime.now(UTC) + timedelta(seconds=seconds)
    state: State[Any] = Scheduled(scheduled_time=due, name=WAITING)
    return client.create_flow_run(later, tags=[f"dataset:{dataset}"], state=state)


def state_of(client: SyncPrefectClient, run: uuid.UUID) -> State[Any]:
    state = client.read_flow_run(run).state
    assert state
    return state


@flow(name="deliver")
def holds(dataset: str) -> None:
    with waking_others(dataset):
        tag_run(dataset)


def left(client: SyncPrefectClient, dataset: str) -> uuid.UUID:
    """A run that a worker has started, and that found its data set held."""
    runs: list[str] = []

    @flow(name="deliver")
    def finds_it_held() -> None:
        runs.append(runtime.flow_run.id)
        client.update_flow_run(uuid.UUID(runs[0]), infrastructure_pid="4711")
        leave_until_free(dataset, HeldError("held by another"))

    with pytest.raises(Pause):
        finds_it_held()
    return uuid.UUID(runs[0])


def test_the_run_that_has_waited_longest_begins_and_one_that_is_due_is_left_alone(
    client: SyncPrefectClient, dataset: str
) -> None:
    first, second = waits(client, dataset), waits(client, dataset)
    holds(dataset)
    assert state_of(client, first.id).message == "The data set is free."
    assert state_of(client, second.id).name == WAITING
    due = waits(client, f"{dataset}-due", seconds=10)
    holds(f"{dataset}-due")
    assert state_of(client, due.id).name == WAITING


@pytest.mark.parametrize("state", [Cancelled(), Pending()], ids=["cancelled", "handed to a worker"])
def test_a_run_that_was_cancelled_or_begins_meanwhile_is_not_woken_and_the_next_is(
    client: SyncPrefectClient,
    dataset: str,
    state: State[Any],
    meanwhile: Callable[[Callable[[], object]], None],
) -> None:
    first, second = waits(client, dataset), waits(client, dataset)
    meanwhile(lambda: client.set_flow_run_state(first.id, state))
    holds(dataset)
    assert state_of(client, first.id).type == state.type
    assert state_of(client, second.id).message == "The data set is free."


def test_a_run_that_waits_is_cancelled_at_once(client: SyncPrefectClient, dataset: str) -> None:
    run = left(client, dataset)
    assert state_of(client, run).name == WAITING
    client.set_flow_run_state(run, Cancelling())
    assert state_of(client, run).type == StateType.CANCELLED


def test_a_run_that_is_cancelled_while_it_leaves_its_process_is_cancelled(
    client: SyncPrefectClient, dataset: str, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    meanwhile(lambda: client.set_flow_run_state(runtime.flow_run.id, Cancelling()))
    assert state_of(client, left(client, dataset)).type == StateType.CANCELLED
