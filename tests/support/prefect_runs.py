"""A real Prefect server, and what a test wants of it: blocks, deployments, flow runs and what they left."""

from __future__ import annotations

import fcntl
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import Artifact, FlowRun, TaskRun
from prefect.exceptions import Pause
from prefect.flow_engine import load_flow, run_flow
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_UI_API_URL, temporary_settings

from imagehaul.blocks import ObjectStore, ObjectStoreCredentials
from imagehaul.local.local_prefect import (
    Part,
    listening,
    port_of,
    prefect_environment,
    prefect_server,
    prefect_worker,
)
from imagehaul.store.endpoint import Store

DEPLOYMENTS = Path(__file__).parents[2] / "prefect.yaml"
POOL = "imagehaul"


@dataclass(frozen=True)
class Prefect:
    """The server at `url`. `environment`: for a process that is to use it. `folder`: its data and logs."""

    url: str
    folder: Path
    environment: dict[str, str]

    @property
    def database(self) -> Path:
        return self.folder / "prefect" / "prefect.db"

    @contextmanager
    def used_here(self) -> Iterator[SyncPrefectClient]:
        """In this process, too, it is the Prefect API."""
        with (
            temporary_settings({PREFECT_API_URL: f"{self.url}/api", PREFECT_SERVER_UI_API_URL: f"{self.url}/api"}),
            get_client(sync_client=True) as client,
        ):
            yield client

    @contextmanager
    def worker(self) -> Iterator[Part]:
        """In a folder of its own: not the one that the deployments were made in."""
        folder = self.folder / f"worker {uuid.uuid4().hex[:6]}"
        folder.mkdir()
        with prefect_worker(folder, POOL, self.environment) as worker:
            yield worker


@contextmanager
def running_prefect(folder: Path, database: Path) -> Iterator[Prefect]:
    """`database`: where the first server of a test run leaves its empty database, from which the others start.

    To make the tables takes a server more CPU than all else until it answers.
    """
    listener = listening()
    port = port_of(listener)
    environment = prefect_environment(folder, port)
    prefect = Prefect(f"http://127.0.0.1:{port}", folder, environment)
    with ExitStack() as parts:
        with _alone_with(database):
            if made := database.exists():
                prefect.database.parent.mkdir()
                shutil.copyfile(database, prefect.database)
            else:
                parts.enter_context(prefect_server(folder, listener, environment))
                _copy(prefect.database, database)
        if made:
            parts.enter_context(prefect_server(folder, listener, environment))
        yield prefect


@contextmanager
def _alone_with(database: Path) -> Iterator[None]:
    """Test processes wait for each other here."""
    with database.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _copy(database: Path, to: Path) -> None:
    """Of a server at work: part of it may lie in the write-ahead log."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def save_block(name: str, store: Store) -> None:
    """The block of a store with keys that are given outright."""
    keys = store.keys()
    credentials = ObjectStoreCredentials(access_key=keys.access_key, secret_key=keys.secret_key)
    credentials.save(f"{name}-keys", overwrite=True)
    ObjectStore(object_store_url=store.url, ca_bundle=store.ca, credentials=credentials).save(name, overwrite=True)


def wait_for_end(client: SyncPrefectClient, run: uuid.UUID, seconds: float = 180) -> FlowRun:
    return wait_for(client, run, lambda found: bool(found.state and found.state.is_final()), seconds)


def wait_for(client: SyncPrefectClient, run: uuid.UUID, is_so: Any, seconds: float = 180) -> FlowRun:
    deadline = time.monotonic() + seconds
    while not is_so(found := client.read_flow_run(run)):
        if time.monotonic() > deadline:
            raise AssertionError(f"After {seconds} s the run is {found.state}. Its log:\n{log_of(client, run)}")
        # Each look costs the server ten milliseconds of CPU.
        time.sleep(0.5)
    return found


def run_here(client: SyncPrefectClient, run: FlowRun) -> FlowRun:
    """What a worker's process does with a run, in this one: that process takes seconds to start."""
    with suppress(Pause):
        run_flow(load_flow(run), flow_run=client.read_flow_run(run.id), return_type="state")
    return client.read_flow_run(run.id)


def log_of(client: SyncPrefectClient, run: uuid.UUID) -> str:
    """Each line once: Prefect's client sends one again where the server's answer took longer than it waits, 60 s."""
    read = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])), limit=200)
    lines = dict.fromkeys((line.timestamp, line.level, line.message) for line in read)
    return "\n".join(f"{level} {message}" for _, level, message in lines)


def artifacts_of(client: SyncPrefectClient, run: uuid.UUID) -> dict[str, Artifact]:
    """By what they are; the rest of their keys is the data set's name."""
    found = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run])))
    kinds = ("summary", "plan", "progress", "problems", "contact-sheet")
    return {next(kind for kind in kinds if item.key.startswith(kind)): item for item in found if item.key}


def task_runs_of(client: SyncPrefectClient, run: uuid.UUID, count: int) -> list[TaskRun]:
    """In the order in which they began. The server hears of them by events, a moment after the run has ended."""
    of_this_run = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    deadline = time.monotonic() + 60
    while True:
        found = client.read_task_runs(flow_run_filter=of_this_run)
        ended = [task for task in found if task.state and task.state.is_final()]
        if len(ended) >= count or time.monotonic() > deadline:
            return sorted(found, key=lambda task: str(task.start_time))
        time.sleep(0.2)
