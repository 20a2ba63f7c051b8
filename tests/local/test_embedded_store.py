from __future__ import annotations

import itertools
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pytest
from botocore.exceptions import ClientError

from imagehaul.child_process import start_bound
from imagehaul.errors import SettingsError, StoreError
from imagehaul.local import embedded_store
from imagehaul.local.embedded_store import EmbeddedStore, serve
from imagehaul.local.local_prefect import free_port
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_restart_after_a_crash_has_the_same_url_keys_and_data(tmp_path: Path, store: Store) -> None:
    server = EmbeddedStore(tmp_path / "a folder, with a comma")
    server.start()
    try:
        before = server.store()
        server.make_bucket("images")
        server.make_bucket("images")
        before.client().put_object(Bucket="images", Key="a.jpg", Body=b"picture")
        server.kill()
        assert not server.pid

        server.start()
        assert server.store() == before
        assert server.url != store.url  # The session's server runs beside it.
        before.renew()
        assert before.client().get_object(Bucket="images", Key="a.jpg")["Body"].read() == b"picture"
        with pytest.raises(StoreError, match="Another embedded store works in"):
            EmbeddedStore(server.folder).start()
    finally:
        pid = server.pid
        server.stop()
    assert not is_running(pid)
    assert (server.folder / "keys.json").stat().st_mode & 0o777 == 0o600


def test_a_bucket_is_not_made_by_writing_to_it(store: Store) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        store.client().put_object(Bucket="never-made", Key="a.jpg", Body=b"picture")


def test_many_buckets_never_use_up_the_volumes(store: Store) -> None:
    client = store.client()
    for number in range(12):
        client.create_bucket(Bucket=f"one-of-many-{number}")
        client.put_object(Bucket=f"one-of-many-{number}", Key="a", Body=b"1")


def test_keys_in_our_environment_do_not_open_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # SeaweedFS takes AWS_ACCESS_KEY_ID as an administrator's where it sees it.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OURS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ours")
    with EmbeddedStore(tmp_path / "store") as server:
        other = Store(url=server.url, credentials=AccessKey("OURS", "ours"))
        with pytest.raises(ClientError, match="InvalidAccessKeyId"):
            other.client().list_buckets()


def test_a_port_that_is_taken_is_refused_by_its_number(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StoreError, match=f"cannot use port {port}: another program listens there"):
            EmbeddedStore(tmp_path / "store", port).start()


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_that_cannot_be_is_named(port: int, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"There is no port {port}. Name one from 1 to 65535"):
        serve(tmp_path, port)


def test_a_free_port_that_is_taken_in_the_meantime_is_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = EmbeddedStore._draw_ports
    drawn = 0

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        def draw_a_taken_one_first(server: EmbeddedStore) -> None:
            nonlocal drawn
            draw(server)
            drawn += 1
            if drawn == 1:
                server._ports["filer grpc"] = taken.getsockname()[1]

        monkeypatch.setattr(EmbeddedStore, "_draw_ports", draw_a_taken_one_first)
        with EmbeddedStore(tmp_path / "store") as server:
            assert server.pid
    assert drawn == 2


def test_a_store_that_was_first_at_the_port_is_not_taken_for_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both found it free. The first one answers until ours finds that it cannot listen there."""
    with EmbeddedStore(tmp_path / "first") as first:
        port = int(first.url.rpartition(":")[2])
        free = embedded_store._is_free
        asked: list[int] = []

        def is_free(number: int) -> bool:
            asked.append(number)
            return free(number) or asked.count(port) == 1

        monkeypatch.setattr(embedded_store, "_is_free", is_free)
        with EmbeddedStore(tmp_path / "second", preferred_port=port) as second:
            assert second.url != first.url
            second.make_bucket("images")
        asked.clear()
        with pytest.raises(StoreError, match=f"cannot use port {port}: another program listens there"):
            EmbeddedStore(tmp_path / "third", port).start()
        assert first.pid


def test_a_preferred_port_is_had_where_nobody_has_it(tmp_path: Path) -> None:
    port = free_port()
    with EmbeddedStore(tmp_path / "store", preferred_port=port) as server:
        assert server.url == f"http://127.0.0.1:{port}"


def test_a_server_that_does_not_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"does not start(.|\n)*/no/such/keys.json"):
        EmbeddedStore(tmp_path / "store", options=["-s3.config=/no/such/keys.json"]).start()


def test_damaged_keys_and_a_file_in_place_of_the_folder_are_named(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{}")
    with pytest.raises(StoreError, match=r"cannot read its keys in .*keys\.json"):
        EmbeddedStore(tmp_path).start()
    with pytest.raises(StoreError, match=r"cannot use the folder .*keys\.json"):
        EmbeddedStore(tmp_path / "keys.json").start()


def test_the_server_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from imagehaul.local.embedded_store import EmbeddedStore\n"
        "server = EmbeddedStore(Path(sys.argv[1])); server.start(); print(server.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, tmp_path / "store"], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    with parent.stdout:
        pid = int(parent.stdout.readline())
    assert is_running(pid)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(pid)


def test_a_bound_child_outlives_the_thread_that_asked_for_it() -> None:
    from threading import Thread

    children: list[subprocess.Popen[bytes]] = []
    asking = Thread(target=lambda: children.append(start_bound(["/bin/sleep", "30"])))
    asking.start()
    asking.join()
    time.sleep(0.1)
    assert children[0].poll() is None
    children[0].kill()
    assert children[0].wait() == -signal.SIGKILL


def test_serve_says_how_to_use_it_and_ends_cleanly_on_sigterm(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from imagehaul.local.embedded_store import serve\n"
        "serve(Path(sys.argv[1]))"
    )
    serving = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "store"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert serving.stdout
    said: dict[str, str] = {}
    while "REMOTE_SAVE" not in said:
        line = serving.stdout.readline()
        assert line, serving.communicate()[1]
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").strip().partition("=")
            said[name] = value
    keys = AccessKey(said["AWS_ACCESS_KEY_ID"], said["AWS_SECRET_ACCESS_KEY"])
    store = Store(url=said["OBJECT_STORE_URL"], credentials=keys)
    store.check(said["REMOTE_SAVE"].removeprefix("s3://").rstrip("/"))

    serving.send_signal(signal.SIGTERM)
    _, errors = serving.communicate(timeout=20)
    assert (serving.returncode, errors) == (0, "")
    with pytest.raises(StoreError, match="cannot be reached"):
        store.check("images")


class Idle:
    """A store that does nothing, in place of the embedded one."""

    url = access_key = secret_key = "said"
    pid = 1
    begun = False

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        Idle.begun = False

    def make_bucket(self, name: str) -> None:
        Idle.begun = True


@pytest.mark.timeout(60)
def test_a_signal_ends_serve_whichever_line_it_comes_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Event.wait` holds a lock at some, which a handler that sets the event would wait for without an end."""
    monkeypatch.setattr("imagehaul.local.embedded_store.EmbeddedStore", Idle)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    before = sys.gettrace()
    for moment in range(1, 40):
        lines = itertools.count(1)

        def trace(frame: FrameType, event: str, _: object, moment: int = moment, lines: Iterator[int] = lines) -> Any:
            if Idle.begun and event == "line" and next(lines) == moment:
                signal.raise_signal(signal.SIGTERM)
            return trace

        sys.settrace(trace)
        try:
            serve(Path("no folder"))
        finally:
            sys.settrace(before)
        assert next(lines) > moment


def test_serve_ends_on_sigterm_while_the_store_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(server: EmbeddedStore) -> bool:
        pids.append(server.pid)
        signal.raise_signal(signal.SIGTERM)
        time.sleep(30)
        return False

    pids: list[int] = []
    monkeypatch.setattr(EmbeddedStore, "_answers", never)
    began = time.monotonic()
    serve(tmp_path / "store")
    assert time.monotonic() - began < 20
    assert not is_running(pids[0])


def test_serve_names_the_port_that_is_taken(tmp_path: Path, store: Store) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StoreError, match="another program listens there"):
        serve(tmp_path / "store", port=int(store.url.rpartition(":")[2]))
    assert signal.getsignal(signal.SIGTERM) == handler
