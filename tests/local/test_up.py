"""`make up`: all at once, a delivery by it, and a clean end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import BaseModel, model_serializer
from pydantic_core import PydanticSerializationError

from imagehaul.local.up import is_interrupt
from tests.support.prefect_runs import DEPLOYMENTS, wait_for, wait_for_end

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


class Stopped(BaseModel):
    """Ctrl-C comes while this is serialized, as Prefect serializes a block that is saved."""

    @model_serializer
    def dump(self) -> str:
        raise KeyboardInterrupt


def test_an_interrupt_is_known_from_within_another_error() -> None:
    with pytest.raises(PydanticSerializationError) as caught:
        Stopped().model_dump()
    assert is_interrupt(caught.value)
    assert is_interrupt(KeyboardInterrupt())
    assert not is_interrupt(ValueError("another"))


def start(state: Path) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """The process, and the addresses that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "imagehaul.local.up", str(state)],
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


def stop(process: subprocess.Popen[str]) -> str:
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    gone, alive = psutil.wait_procs(children, timeout=5)
    assert len(gone) >= 3
    assert not alive
    return said


@contextmanager
def up(state: Path) -> Iterator[tuple[subprocess.Popen[str], SyncPrefectClient]]:
    process, addresses = start(state)
    try:
        with temporary_settings({PREFECT_API_URL: f"{addresses['http']}/api"}), get_client(sync_client=True) as client:
            yield process, client
    finally:
        if process.poll() is None:
            process.kill()


def submit(client: SyncPrefectClient, state: Path, **parameters: Any) -> uuid.UUID:
    deployment = client.read_deployment_by_name("deliver/embedded")
    given = {"source": str(state / "sample"), **parameters}
    return client.create_flow_run_from_deployment(deployment.id, parameters=given).id


def outcome(client: SyncPrefectClient, run: uuid.UUID) -> str:
    ended = wait_for_end(client, run)
    return (ended.state and ended.state.message) or ""


@pytest.mark.timeout(600)
def test_up_delivers_marks_a_run_that_was_cut_off_keeps_its_state_and_ends_without_an_orphan(tmp_path: Path) -> None:
    """One after the other: each start takes a Prefect server's half a minute."""
    state = tmp_path / "state"
    with up(state) as (process, client):
        assert "33 delivered, 0 unchanged" in outcome(client, submit(client, state))
        cut_off = submit(client, state, rerun="all")
        wait_for(client, cut_off, lambda found: found.state is not None and found.state.is_running())
        below = psutil.Process(process.pid).children(recursive=True)
        # As where the machine goes down: nobody is left to tell the server.
        for each in (psutil.Process(process.pid), *below):
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.communicate()
        assert not psutil.wait_procs(below, timeout=30)[1]
    with up(state) as (process, client):
        found = client.read_flow_run(cut_off)
        assert found.state
        assert found.state_name == "Crashed"
        assert "A retry goes on from what is proven" in (found.state.message or "")
        assert "0 delivered, 33 unchanged" in outcome(client, submit(client, state))
        assert "Stopped. All is kept" in stop(process)


def test_ctrl_c_ends_make_run_with_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "imagehaul.local.quickstart", str(tmp_path)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background of a shell, SIGINT comes down to us ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (tmp_path / "store" / "server.log").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.count("\n")) == (1, 1)
    assert said.startswith("Interrupted: ")
