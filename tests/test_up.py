"""`make up`: all at once, a delivery by it, and a clean end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from prefect_runs import DEPLOYMENTS, wait_for_end

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


def start(state: Path) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """The process, and the addresses that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.up", str(state)],
        cwd=DEPLOYMENTS.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        if "Stop all with Ctrl-C" in line:
            words = [line.split() for line in said]
            return process, {line[-1].split(":")[0]: line[-1] for line in words if line and "UI" in line}
    raise AssertionError(f"It does not start:\n{''.join(said)}")


def stop(process: subprocess.Popen[str], number: signal.Signals) -> str:
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    gone, alive = psutil.wait_procs(children, timeout=5)
    assert len(gone) >= 3
    assert not alive
    return said


def test_up_delivers_the_sample_ends_without_an_orphan_and_starts_again_on_the_same_state(tmp_path: Path) -> None:
    state = tmp_path / "state"
    for number, counts in ((signal.SIGINT, "33 delivered, 0 unchanged"), (signal.SIGTERM, "0 delivered, 33 unchanged")):
        process, addresses = start(state)
        try:
            with (
                temporary_settings({PREFECT_API_URL: f"{addresses['http']}/api"}),
                get_client(sync_client=True) as client,
            ):
                deployment = client.read_deployment_by_name("deliver/embedded")
                given = {"source": str(state / "sample")}
                run = client.create_flow_run_from_deployment(deployment.id, parameters=given)
                ended = wait_for_end(client, run.id)
                assert ended.state
                assert counts in (ended.state.message or "")
            assert "Stopped. All is kept" in stop(process, number)
        finally:
            if process.poll() is None:
                process.kill()


def test_a_run_that_was_cut_off_is_marked_at_the_next_start(tmp_path: Path) -> None:
    state = tmp_path / "state"
    process, addresses = start(state)
    with temporary_settings({PREFECT_API_URL: f"{addresses['http']}/api"}), get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("deliver/embedded")
        given = {"source": str(state / "sample"), "approve": True}
        run = client.create_flow_run_from_deployment(deployment.id, parameters=given)
        deadline = time.monotonic() + 60
        while client.read_flow_run(run.id).state_name != "Paused" and time.monotonic() < deadline:
            time.sleep(0.3)
    below = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    psutil.wait_procs(below, timeout=30)
    process, addresses = start(state)
    try:
        with temporary_settings({PREFECT_API_URL: f"{addresses['http']}/api"}), get_client(sync_client=True) as client:
            found = client.read_flow_run(run.id)
            assert found.state
            assert found.state_name == "Crashed"
            assert "A retry goes on from what is proven" in (found.state.message or "")
    finally:
        stop(process, signal.SIGTERM)
