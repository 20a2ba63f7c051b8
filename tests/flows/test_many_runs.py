"""The runs of many data sets, on a server that goes away, and where people remove what was begun."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, cast

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Completed, Pending

from imagehaul.errors import HaulError
from imagehaul.flows import many_runs
from imagehaul.flows.deploy import Deployer
from imagehaul.store.endpoint import Store
from tests.support.prefect_runs import DEPLOYMENTS, Prefect, save_block

pytestmark = pytest.mark.prefect
ASKED = [{"dataset": f"set-{number}", "source": "/photos"} for number in range(3)]


@pytest.fixture(scope="module")
def client(prefect: Prefect, store: Store) -> Iterator[SyncPrefectClient]:
    with prefect.used_here() as client:
        save_block("minio", store)
        yield client


@pytest.fixture
def deployment(client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> uuid.UUID:
    """Anew for each test, so that its runs are the test's."""
    monkeypatch.setattr(many_runs, "POLL_SECONDS", 0.1)
    Deployer(DEPLOYMENTS, None, {"REMOTE_SAVE": "s3://nowhere/"}).deploy(["minio"])
    return client.read_deployment_by_name("deliver/minio").id


def begun(client: SyncPrefectClient, deployment: uuid.UUID) -> list[FlowRun]:
    of_it = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
    return [run for run in client.read_flow_runs(deployment_filter=of_it) if run.parent_task_run_id]


@contextmanager
def ended_by(end: Callable[[SyncPrefectClient, FlowRun], object], deployment: uuid.UUID) -> Iterator[None]:
    """`end` is done with each run that is begun, in place of a worker."""
    over = threading.Event()

    def work() -> None:
        with get_client(sync_client=True) as own:
            seen: set[uuid.UUID] = {run.id for run in begun(own, deployment)}
            while not over.wait(0.1):
                for run in begun(own, deployment):
                    if run.id not in seen:
                        seen.add(run.id)
                        end(own, run)

    thread = threading.Thread(target=copy_context().run, args=(work,))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def complete(client: SyncPrefectClient, run: FlowRun) -> None:
    client.set_flow_run_state(run.id, Completed(message=run.parameters["dataset"]), force=True)


class Away:
    """A client whose first so many requests reach nobody."""

    def __init__(self, real: SyncPrefectClient, times: float) -> None:
        self._real, self._left = real, times

    def read_flow_run(self, run: uuid.UUID) -> FlowRun:
        self._fail()
        return self._real.read_flow_run(run)

    def set_flow_run_state(self, run: uuid.UUID, state: State[Any]) -> None:
        self._fail()
        self._real.set_flow_run_state(run, state)

    def _fail(self) -> None:
        self._left -= 1
        if self._left >= 0:
            raise httpx.ConnectError("All connection attempts failed")


@flow
def backfill(deployment: uuid.UUID, away: float = 0) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        return many_runs.run_all(cast("SyncPrefectClient", Away(client, away)), deployment, ASKED, 2)


def failing_once(begin: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    """The first run is begun, and then `error` comes in place of the answer."""
    errors = [error]

    def call(*arguments: Any, **named: Any) -> Any:
        answer = begin(*arguments, **named)
        if errors:
            raise errors.pop()
        return answer

    return call


def test_a_server_that_is_away_for_a_while_ends_nothing_and_begins_nothing_twice(
    client: SyncPrefectClient, deployment: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(begun(client, deployment))
    monkeypatch.setattr(
        many_runs, "run_deployment", failing_once(many_runs.run_deployment, httpx.ReadError("broken off"))
    )
    with ended_by(complete, deployment):
        runs = backfill(deployment, away=2)
    assert [run.state and run.state.message for run in runs] == ["set-0", "set-1", "set-2"]
    assert len(begun(client, deployment)) - before == 3


def test_a_run_that_somebody_deletes_counts_as_not_completed(client: SyncPrefectClient, deployment: uuid.UUID) -> None:
    def end(own: SyncPrefectClient, run: FlowRun) -> None:
        if run.parameters["dataset"] == "set-1":
            own.delete_flow_run(run.id)
        else:
            complete(own, run)

    with ended_by(end, deployment):
        runs = backfill(deployment)
    assert [run.state_name for run in runs] == ["Completed", "Deleted", "Completed"]


def test_a_run_that_a_worker_lost_is_named_once(
    client: SyncPrefectClient,
    deployment: uuid.UUID,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(many_runs, "LONGEST_PENDING", 0.2)

    def end(own: SyncPrefectClient, run: FlowRun) -> None:
        if run.parameters["dataset"] == "set-1":
            own.set_flow_run_state(run.id, Pending(name="Submitting"), force=True)
            deadline = time.monotonic() + 60
            while "may be lost" not in caplog.text and time.monotonic() < deadline:
                time.sleep(0.1)
            time.sleep(0.5)
        complete(own, run)

    with ended_by(end, deployment):
        backfill(deployment)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("set-1 was handed to a worker 0 minutes ago and has not begun; it may be lost: http")


def test_a_server_that_stays_away_is_named_and_what_was_begun_is_left_alone(
    client: SyncPrefectClient, deployment: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many_runs, "PATIENCE", 0.3)
    with pytest.raises(HaulError, match=r"did not answer for 0 minutes \(ConnectError\)"):
        backfill(deployment, away=math.inf)
    left = [run for run in begun(client, deployment) if run.state and not run.state.is_final()]
    assert {run.state_type for run in left} == {StateType.SCHEDULED}, "by name it is late after 15 s"
    for run in left:
        complete(client, run)


def test_what_the_server_refuses_is_not_asked_again(
    client: SyncPrefectClient, deployment: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = httpx.Response(422, request=httpx.Request("POST", "http://prefect"))
    refused = httpx.HTTPStatusError("422", request=answer.request, response=answer)
    monkeypatch.setattr(many_runs, "run_deployment", failing_once(many_runs.run_deployment, refused))
    with pytest.raises(httpx.HTTPStatusError):
        backfill(deployment)


def test_a_deployment_that_is_removed_is_named(client: SyncPrefectClient) -> None:
    with pytest.raises(HaulError, match="The deployment was removed"):
        backfill(uuid.uuid4())
