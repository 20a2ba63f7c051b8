"""Batches on a Dask cluster: a real scheduler and real workers, in folders and environments of their own."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import imagehaul
from imagehaul.delivery.runners.registry import OpenRunner, open_runner
from imagehaul.delivery.runners.runner import Runner
from imagehaul.errors import HaulError
from imagehaul.store.endpoint import Store
from imagehaul.store.reference import StoreReference
from tests.support.dask_cluster import Cluster, await_workers, cluster_with, keys_of, start_leader
from tests.support.delivering import Lines, Target, draw
from tests.support.running import Machine
from tests.support.search import Search
from tests.support.tap import Tap

MOUNT_NAMESPACE = ["unshare", "--map-root-user", "--mount"]


@pytest.fixture(scope="module")
def cluster(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_with(tmp_path_factory.mktemp("dask"), keys_of(store)) as started:
        yield started


@pytest.fixture
def target(store: Store, bucket: str) -> Target:
    return Target(replace(store, reference=StoreReference("environment", store.url)), bucket)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    folder = tmp_path / "many"
    for number in range(40):
        draw(folder / f"{number:02}.jpg", seed=number)
    return folder


def settings_for(cluster: Cluster | str, **more: Any) -> dict[str, Any]:
    address = cluster if isinstance(cluster, str) else cluster.address
    return {"task_runner": "dask", "task_runner_address": address, "batch_size": 5, "workers": 2, **more}


def test_dask_leaves_the_same_store_and_ledger_as_this_process(many: Path, target: Target, cluster: Cluster) -> None:
    (many / "broken.jpg").write_bytes(b"no picture")
    here = replace(target, prefix="here/")
    expected = here.deliver(many, settings={"batch_size": 5})
    summary = target.deliver(many, settings=settings_for(cluster), open_runner=open_runner)
    assert (summary.counts, summary.runner, summary.engine) == (expected.counts, "dask", expected.engine)
    assert target.stored() == here.stored()
    columns = ("source_path", "kind", "status", "code", "md5", "sha256", "etag", "proof", "width", "height")
    rows = [[row[name] for name in columns] for row in target.ledger()]
    assert rows == [[row[name] for name in columns] for row in here.ledger()]
    again = target.deliver(many, settings=settings_for(cluster), open_runner=open_runner)
    assert (again.counts.objects, again.nothing_changed) == (0, True)


def test_a_worker_without_keys_is_named_before_anything_is_sent(many: Path, target: Target, tmp_path: Path) -> None:
    refused = pytest.raises(HaulError, match=r"1 of 1 workers .* cannot work on this run(.|\n)*keys")
    with cluster_with(tmp_path, {"AWS_EC2_METADATA_DISABLED": "true"}, workers=1) as bare, refused:
        target.deliver(many, settings=settings_for(bare), open_runner=open_runner)
    assert target.listed("images/") == []


def test_a_worker_that_does_not_see_the_source_is_named(
    many: Path, target: Target, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagehaul.delivery import work

    context_of = work.context_of

    def elsewhere(held: Any) -> Any:
        context = context_of(held)
        return replace(context, source=replace(context.source, uri="/no/such/mount"))

    monkeypatch.setattr(work, "context_of", elsewhere)
    with pytest.raises(HaulError, match=r"does not see '00\.jpg' in /no/such/mount"):
        target.deliver(many, settings=settings_for(cluster), open_runner=open_runner)


def test_a_worker_whose_folder_has_gone_is_named_and_not_called_gone(
    many: Path, target: Target, store: Store, tmp_path: Path
) -> None:
    with cluster_with(tmp_path / "own", keys_of(store), workers=1) as own:
        shutil.rmtree(own.folder / "worker-0")
        with pytest.raises(HaulError, match=r"1 of 1 workers .* cannot work on this run(.|\n)*FileNotFoundError"):
            target.deliver(many, settings=settings_for(own), open_runner=open_runner)


def test_an_interrupted_run_waits_for_what_is_at_work_and_lets_the_data_set_go(
    many: Path, target: Target, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Lines, "advance", interrupt)
        with pytest.raises(KeyboardInterrupt):
            target.deliver(many, settings=settings_for(cluster), open_runner=open_runner)
    arrived = set(target.listed("images/"))
    summary = target.deliver(many, settings={"batch_size": 5}, when_locked="refuse")
    assert (summary.counts.delivered + summary.counts.unchanged, summary.published) == (40, True)
    assert summary.counts.unchanged == len(arrived), "What was at work has left its journal."


def test_the_end_of_a_run_does_not_wait_for_a_scheduler_that_says_nothing(
    many: Path, target: Target, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagehaul.delivery.runners.dask.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("imagehaul.delivery.runners.dask.STOP_SECONDS", 0.5)
    with cluster_with(tmp_path / "own", keys_of(store), workers=1) as own:
        scheduler = own.scheduler
        assert scheduler

        def interrupt(*_: object) -> None:
            scheduler.send_signal(signal.SIGSTOP)
            raise KeyboardInterrupt

        monkeypatch.setattr(Lines, "advance", interrupt)
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            target.deliver(many, settings=settings_for(own, batch_size=1), open_runner=open_runner)
        assert time.monotonic() - began < 20


def test_a_worker_of_an_older_version_is_told_to_be_updated(
    many: Path, target: Target, store: Store, tmp_path: Path
) -> None:
    older = _copied(tmp_path / "older")
    (older / "imagehaul/store/obstore_options.py").unlink()  # which what travels names
    refused = pytest.raises(
        HaulError, match=r"1 of 1 workers .* cannot(.|\n)*another version of imagehaul(.|\n)*Install the version"
    )
    with cluster_with(tmp_path / "own", {**keys_of(store), "PYTHONPATH": str(older)}, workers=1) as own, refused:
        target.deliver(many, settings=settings_for(own), open_runner=open_runner)
    assert target.listed("images/") == []


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        ("keys", "There are no keys for the store"),
        ("mount", "does not see '00.jpg' in"),
        ("version", "Install the same version on both"),
    ],
)
def test_a_worker_that_joins_and_is_unfit_is_left_out(
    lacks: str,
    said: str,
    many: Path,
    target: Target,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While Dask's own timer, which asks for no worker, looks a thousand times as often as it does."""
    import distributed

    if lacks == "mount":
        skip_where_no_mount_can_be_hidden()
    monkeypatch.setitem(distributed.config["distributed"]["client"], "scheduler-info-interval", "2ms")
    with cluster_with(tmp_path / "own", keys_of(store), workers=1) as own:
        opens = _opening(own, partial(_join_without, lacks, own, many, tmp_path))
        summary = target.deliver(many, settings=settings_for(own, batch_size=1), open_runner=opens)
    assert (summary.counts.delivered, summary.counts.failed, summary.published) == (40, 0, True)
    warned = [line for line in target.lines.warned if "is left out" in line]
    assert len(warned) == 1
    assert re.match(r"The Dask worker tcp://127\.0\.0\.1:\d+ joined during the run, and is left out\. ", warned[0])
    assert said in warned[0]


def test_where_only_unfit_workers_are_left_the_run_says_why_they_are(
    many: Path, target: Target, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_where_no_mount_can_be_hidden()
    monkeypatch.setattr("imagehaul.delivery.runners.dask.LOOK_SECONDS", 0.2)
    with cluster_with(tmp_path / "own", keys_of(store), workers=1) as own:
        killer = _when(lambda: bool(target.listed("images/")), own.workers[0].kill)
        opens = _opening(own, partial(_join_without, "mount", own, many, tmp_path))
        with pytest.raises(
            HaulError, match=r"has no worker left that can work on this run\.\n.*does not see '00\.jpg'"
        ):
            target.deliver(many, settings=settings_for(own, batch_size=1), open_runner=opens)
        killer.join()


def _opening(cluster: Cluster, join: Callable[[], None]) -> OpenRunner:
    """A runner for which a second worker joins when all have been asked, and before the first batch."""

    def opens(*asked: Any) -> Runner:
        runner = open_runner(*asked)
        join()
        await_workers(cluster, 2)
        return runner

    return opens


def _join_without(lacks: str, cluster: Cluster, source: Path, tmp_path: Path) -> None:
    if lacks == "keys":
        cluster.start_worker(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", AWS_EC2_METADATA_DISABLED="true")
    elif lacks == "mount":
        hidden = f'mount -t tmpfs none "{source}" && exec "$@"'
        cluster.start_worker(before=[*MOUNT_NAMESPACE, "sh", "-c", hidden, "sh"])
    else:
        older = _copied(tmp_path / "older")
        (older / "imagehaul/version.py").write_text("def software():\n    return 'imagehaul 0.1'\n")
        cluster.start_worker(PYTHONPATH=str(older))


def skip_where_no_mount_can_be_hidden() -> None:
    tried = [*MOUNT_NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"]
    if shutil.which(tried[0]) is None or subprocess.run(tried, capture_output=True, check=False).returncode:
        pytest.skip("this process may not make a mount namespace")


def _copied(folder: Path) -> Path:
    shutil.copytree(Path(imagehaul.__file__).parent, folder / "imagehaul", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_a_scheduler_that_is_not_there_is_a_sentence(many: Path, target: Target, monkeypatch: Any) -> None:
    monkeypatch.setattr("imagehaul.delivery.runners.dask.CONNECT_SECONDS", 1)
    with pytest.raises(HaulError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        target.deliver(many, settings=settings_for("tcp://127.0.0.1:1"), open_runner=open_runner)


def test_what_takes_connections_and_says_nothing_is_no_scheduler(many: Path, target: Target, monkeypatch: Any) -> None:
    monkeypatch.setattr("imagehaul.delivery.runners.dask.CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(HaulError, match=f"No Dask scheduler answers at {address}: nothing was said within 1 s"):
            target.deliver(many, settings=settings_for(address), open_runner=open_runner)


def test_keys_that_only_this_process_has_are_refused(many: Path, store: Store, bucket: str, cluster: Cluster) -> None:
    with pytest.raises(HaulError, match="Save the store as a block"):
        Target(replace(store, reference=None), bucket).deliver(
            many, settings=settings_for(cluster), open_runner=open_runner
        )


def test_a_worker_that_is_killed_costs_its_batches_another_try(
    many: Path, target: Target, store: Store, tmp_path: Path
) -> None:
    with cluster_with(tmp_path / "own", keys_of(store)) as own:
        killer = _when(lambda: bool(target.listed("images/")), own.workers[0].kill)
        summary = target.deliver(many, settings=settings_for(own), open_runner=open_runner)
        killer.join()
    assert (summary.counts.delivered, summary.published) == (40, True)


@pytest.mark.parametrize("careless", [False, True], ids=["as it is", "control with the key in each job"])
def test_no_key_is_in_what_travels_or_in_the_scheduler(
    careless: bool, many: Path, target: Target, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between leader and scheduler, and in all of the scheduler's memory while batches are at work."""
    keys, wire, memory = target.store.keys(), Search.of(target.store.keys()), Search.of(target.store.keys())
    scheduler = cluster.scheduler
    assert scheduler
    monkeypatch.setattr(Lines, "advance", lambda *_: memory.memory(scheduler.pid))
    with Tap(cluster.address.removeprefix("tcp://")) as tap:
        on_purpose = {"cache_control": keys.secret_key} if careless else {}
        settings = settings_for(f"tcp://{tap.address}", **on_purpose)
        assert target.deliver(many, settings=settings, open_runner=open_runner).published
        for heard in tap.heard:
            wire.look("between leader and scheduler", bytes(heard))
        assert any(target.bucket.encode() in heard for heard in tap.heard), "The jobs went by, not compressed."
    assert memory.looked > 8 * 10
    assert (bool(wire.found), bool(memory.found)) == (careless, careless)


def test_a_leader_that_is_killed_leaves_no_work_behind(
    many: Path, target: Target, cluster: Cluster, tmp_path: Path
) -> None:
    leader = start_leader(Machine(tmp_path / "leader"), target, many, cluster, "--batch-size", 5)
    deadline = time.monotonic() + 60
    while not target.listed("images/") and time.monotonic() < deadline:
        time.sleep(0.05)
    leader.kill()
    leader.communicate()
    assert "current.json" not in target.listed()
    # The lease of the dead one has to run out: nothing of it dies with its process.
    summary = target.deliver(many, settings={"batch_size": 5})
    assert (summary.counts.delivered + summary.counts.unchanged, summary.published) == (40, True)


def _when(condition: Callable[[], bool], act: Callable[[], Any]) -> threading.Thread:
    def watch() -> None:
        deadline = time.monotonic() + 60
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_addresses_that_may_hold_a_secret_are_not_given_to_a_scheduler(
    many: Path, target: Target, tmp_path: Path
) -> None:
    rows = tmp_path / "list.txt"
    settings = {**settings_for("tcp://127.0.0.1:1"), "allow_private_addresses": True}
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(many))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        rows.write_text(f"http://127.0.0.1:{server.server_port}/00.jpg?token=hidden\n")
        with pytest.raises(HaulError, match="TASK_RUNNER=processes") as refused:
            target.deliver(rows, settings=settings, open_runner=open_runner)
        server.shutdown()
    assert "hidden" not in str(refused.value)


def test_a_scheduler_that_dies_ends_the_run_with_a_sentence(
    many: Path, target: Target, cluster: Cluster, tmp_path: Path
) -> None:
    """The last test here, since it ends the cluster."""
    leader = start_leader(Machine(tmp_path / "leader"), target, many, cluster, "--batch-size", 5)
    deadline = time.monotonic() + 60
    while not target.listed("images/") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert cluster.scheduler
    cluster.scheduler.kill()
    _, log = leader.communicate(timeout=120)
    assert leader.returncode == 1
    assert "Traceback" not in log
    assert f"imagehaul: The Dask scheduler at {cluster.address} has gone" in log
