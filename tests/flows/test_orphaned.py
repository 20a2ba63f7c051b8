"""Runs that a stopped worker left at work are marked; those that wait for a person are not."""

from __future__ import annotations

import pytest
from prefect import flow
from prefect.states import Running, Suspended

from imagehaul.flows import prefect_server
from imagehaul.flows.orphaned import mark_orphaned
from tests.support.prefect_runs import Prefect

pytestmark = pytest.mark.prefect


@flow
def work() -> None:
    """Nobody starts it."""


def test_all_runs_that_were_at_work_are_marked_and_a_suspended_one_still_waits(
    prefect: Prefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_server, "AT_ONCE", 1)
    with prefect.used_here() as client:
        suspended = client.create_flow_run(work, state=Running())
        client.set_flow_run_state(suspended.id, Suspended(timeout_seconds=3600), force=True)
        lost = [client.create_flow_run(work, state=Running()) for _ in range(3)]
        marked = mark_orphaned("The worker was stopped.")
        assert {run.name for run in lost} <= set(marked)
        assert {client.read_flow_run(run.id).state_name for run in lost} == {"Crashed"}
        assert client.read_flow_run(suspended.id).state_name == "Suspended"
