"""The Prefect server of `make up` and of the tests: who answers at its port is itself."""

from __future__ import annotations

import socket
from pathlib import Path

import psutil
import pytest

from imagehaul.local.local_prefect import free_port, listening, port_of, prefect_environment, prefect_server


def test_a_port_that_somebody_listens_at_is_nobody_elses() -> None:
    with listening() as first:
        port = port_of(first)
        with listening(port) as second:
            assert port_of(second) != port
    with listening(port) as again:
        assert port_of(again) == port


def test_a_connection_does_not_wait_for_more_to_send() -> None:
    with (
        listening() as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert client.getpeername() == accepted.getsockname()


@pytest.mark.prefect
@pytest.mark.slow
def test_two_that_start_at_once_have_a_port_each_and_give_it_back(tmp_path: Path) -> None:
    """The second one's health is its own: while the first one starts, its port takes connections already."""
    wanted = free_port()
    with listening(wanted) as first:
        listener = listening(wanted)
        port = port_of(listener)
        assert (port_of(first), port) == (wanted, port) != (wanted, wanted)
        with prefect_server(tmp_path, listener, prefect_environment(tmp_path, port)) as server:
            at_port = [
                each
                for each in psutil.Process(server.process.pid).net_connections()
                if each.status == psutil.CONN_LISTEN and each.laddr.port == port
            ]
            assert at_port
            assert (tmp_path / "prefect" / "prefect.db").exists()
    with socket.socket() as late:
        assert late.connect_ex(("127.0.0.1", port))
