"""The stages of a run as task runs: in their order, with what they found, and done anew by each attempt."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State, TaskRun
from prefect.settings import (
    PREFECT_LOCAL_STORAGE_PATH,
    PREFECT_RESULTS_PERSIST_BY_DEFAULT,
    PREFECT_TASK_DEFAULT_RETRIES,
    temporary_settings,
)

from imagehaul.delivery.batch_threads import RunBatches
from imagehaul.delivery.stages import Stage, Stages
from imagehaul.errors import SourceError
from imagehaul.flows.batch_tasks import as_tasks
from imagehaul.flows.stage_tasks import as_task
from imagehaul.records import BatchReference
from tests.support.prefect_runs import Prefect, task_runs_of

pytestmark = pytest.mark.prefect
INVENTORY = Stage("inventory", "Inventory", "What the source holds.")
PLAN = Stage("plan", "Plan", "What is new.")
BATCHES = Stage("work", "Batches", "All is sent.")


@pytest.fixture(scope="module")
def client(prefect: Prefect) -> Iterator[SyncPrefectClient]:
    with prefect.used_here() as client:
        yield client


def run_id(state: State[Any]) -> uuid.UUID:
    assert state.state_details.flow_run_id
    return state.state_details.flow_run_id


def said(runs: list[TaskRun]) -> list[tuple[str, str, str | None]]:
    return [(run.name, run.state_name or "", run.state and run.state.message) for run in runs]


def test_each_stage_says_in_its_state_what_it_found_in_the_order_of_the_chain(client: SyncPrefectClient) -> None:
    @flow
    def chain() -> int:
        stages = Stages(as_task)
        images = stages.run(INVENTORY, lambda: 36, lambda images: f"{images} images")
        return stages.run(PLAN, lambda: images - 3, lambda new: f"{images} images, {new} new")

    state = chain(return_state=True)
    assert state.result() == 33
    runs = task_runs_of(client, run_id(state), 2)
    assert said(runs) == [("Inventory", "Completed", "36 images"), ("Plan", "Completed", "36 images, 33 new")]


def test_a_stage_that_fails_says_why_and_the_caller_gets_the_error_itself(client: SyncPrefectClient) -> None:
    def gone() -> int:
        raise SourceError("The source cannot be read.")

    @flow
    def chain() -> None:
        with pytest.raises(SourceError, match="cannot be read"):
            Stages(as_task).run(INVENTORY, gone, str)

    runs = task_runs_of(client, run_id(chain(return_state=True)), 1)
    assert said(runs) == [("Inventory", "Failed", "The source cannot be read.")]


def test_a_bug_in_a_stage_stays_the_error_that_it_is(client: SyncPrefectClient) -> None:
    @flow
    def chain() -> None:
        Stages(as_task).run(INVENTORY, lambda: 1 // 0, str)

    with pytest.raises(ZeroDivisionError):
        chain()


def test_each_attempt_does_each_stage_anew_and_keeps_no_result_whatever_the_profile_says(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    attempts: list[str] = []

    @flow(retries=1)
    def chain() -> None:
        Stages(as_task).run(INVENTORY, lambda: attempts.append("inventory"), str)
        Stages(as_task).run(PLAN, lambda: attempts.append("plan"), str)
        if attempts.count("plan") == 1:
            raise RuntimeError("Once more.")

    profile = {
        PREFECT_RESULTS_PERSIST_BY_DEFAULT: True,
        PREFECT_LOCAL_STORAGE_PATH: str(tmp_path),
        PREFECT_TASK_DEFAULT_RETRIES: 3,
    }
    with temporary_settings(profile):
        chain()
        chain()
    assert attempts == ["inventory", "plan"] * 3
    kept = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(kept) == 3, "The flow's own results alone, one for each of its attempts."


def test_batches_are_task_runs_within_their_stage(client: SyncPrefectClient) -> None:
    batches = [BatchReference(number, 0, 0, 10, 1000) for number in (1, 2)]
    worked: list[int] = []

    def work_on(batch: BatchReference) -> None:
        worked.append(batch.number)

    def run_all(run_batches: RunBatches) -> int:
        return len(list(run_batches(batches, work_on, 2, lambda: None)))

    @flow
    def chain() -> None:
        Stages(as_task).run(BATCHES, lambda: run_all(as_tasks("set")), lambda count: f"{count} batches")

    runs = task_runs_of(client, run_id(chain(return_state=True)), 3)
    assert sorted(worked) == [1, 2]
    assert sorted(run.name for run in runs) == [
        "Batches",
        "set: batch 1 of 2, 10 images",
        "set: batch 2 of 2, 10 images",
    ]


@pytest.mark.parametrize("error", [OSError("gone"), SourceError("gone")], ids=type)
def test_no_batch_is_worked_on_twice_whatever_the_profile_says(client: SyncPrefectClient, error: Exception) -> None:
    batches = [BatchReference(number, 0, 0, 10, 1000) for number in (1, 2)]
    worked: list[int] = []

    def work_on(batch: BatchReference) -> None:
        worked.append(batch.number)
        if batch.number == 2 and worked.count(2) == 1:
            raise error

    @flow
    def chain() -> None:
        list(as_tasks("set")(batches, work_on, 1, lambda: None))

    with temporary_settings({PREFECT_TASK_DEFAULT_RETRIES: 2}), pytest.raises(type(error), match="gone"):
        chain()
    assert worked == [1, 2]
