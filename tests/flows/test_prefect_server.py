"""Prefect's embedded server, as `imagehaul deliver --prefect` starts it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_EPHEMERAL_ENABLED,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)

from imagehaul.errors import HaulError
from imagehaul.flows.prefect_server import reach_api

SILENT = """
import socket, sys, time
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    time.sleep(600)
"""
ANSWERS = """
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The servers that were started: the first is stalled as soon as it listens, the others answer at once."""
    processes: list[subprocess.Popen[bytes]] = []

    def run(server: SubprocessASGIServer) -> Any:
        program = ANSWERS if processes else SILENT
        processes.append(subprocess.Popen([sys.executable, "-c", program, str(server.port)]))
        return processes[-1]

    monkeypatch.setattr(SubprocessASGIServer, "_run_uvicorn_command", run)
    none = {PREFECT_API_URL: None, PREFECT_HOME: tmp_path, PREFECT_SERVER_EPHEMERAL_ENABLED: True}
    with temporary_settings(none):
        yield processes
    SubprocessASGIServer().stop()
    for process in processes:
        process.kill()
        process.wait()


def test_one_that_stalls_as_it_starts_is_stopped_and_another_one_started(
    started: list[subprocess.Popen[bytes]],
) -> None:
    reach_api()
    stalled, answering = started
    assert stalled.poll() is not None
    assert answering.poll() is None


def test_one_that_stalls_for_as_long_as_it_may_start_is_said_not_to_answer(
    started: list[subprocess.Popen[bytes]],
) -> None:
    with (
        temporary_settings({PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 1}),
        pytest.raises(HaulError, match=r"that Prefect starts by itself does not answer \(ReadTimeout\)"),
    ):
        reach_api()
    assert started[0].poll() is not None
    assert len(started) == 1


def test_where_prefect_may_start_no_server_of_its_own_that_is_said(tmp_path: Path) -> None:
    environment = {"PREFECT_HOME": str(tmp_path), "PREFECT_SERVER_EPHEMERAL_ENABLED": "false"}
    asked = "from imagehaul.flows.prefect_server import reach_api; reach_api()"
    done = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=False)
    assert "HaulError: The Prefect API that Prefect starts by itself does not answer (ValueError)" in done.stderr
    assert "Start it (prefect server start), or correct PREFECT_API_URL." in done.stderr
