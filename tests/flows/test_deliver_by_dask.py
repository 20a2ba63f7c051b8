"""A flow run whose batches are with Dask, whose workers have no key and load the store's block."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Cancelling

from imagehaul.delivery.runners.registry import open_runner
from imagehaul.flows.deploy import Deployer
from imagehaul.store.endpoint import Store
from imagehaul.store.reference import StoreReference
from tests.support.dask_cluster import Cluster, cluster_with
from tests.support.delivering import Target, draw
from tests.support.prefect_runs import DEPLOYMENTS, Prefect, log_of, save_block, wait_for_end

pytestmark = pytest.mark.prefect
DEPLOYMENT = "deliver/embedded"


@pytest.fixture
def client(prefect: Prefect, store: Store) -> Iterator[SyncPrefectClient]:
    with prefect.used_here() as client:
        save_block("embedded", store)
        Deployer(DEPLOYMENTS, None, {}).deploy(["embedded"])
        with prefect.worker():
            yield client


@pytest.fixture
def cluster(prefect: Prefect, tmp_path: Path) -> Iterator[Cluster]:
    with cluster_with(tmp_path / "dask", {"PREFECT_API_URL": prefect.environment["PREFECT_API_URL"]}) as started:
        yield started


def test_workers_without_keys_load_the_stores_block(
    prefect: Prefect, cluster: Cluster, store: Store, bucket: str, tmp_path: Path
) -> None:
    with prefect.used_here():
        save_block("embedded", store)
        target = Target(replace(store, reference=StoreReference("block", "embedded")), bucket)
        for number in range(6):
            draw(tmp_path / "source" / f"{number}.jpg", seed=number)
        own = {"batch_size": 2, "task_runner": "dask", "task_runner_address": cluster.address}
        summary = target.deliver(tmp_path / "source", settings=own, open_runner=open_runner)
    assert (summary.counts.delivered, summary.published, summary.runner) == (6, True, "dask")


@pytest.mark.attack
def test_nothing_runs_on_15_seconds_after_a_cancel_and_the_next_run_goes_on(
    client: SyncPrefectClient, cluster: Cluster, store: Store, bucket: str, tmp_path: Path
) -> None:
    target = Target(store, bucket, dataset=f"set-{uuid.uuid4().hex[:6]}")
    original = draw(tmp_path / "source" / "first.jpg", size=(3000, 2000))
    for number in range(400):
        (tmp_path / "source" / f"copy {number:03}.jpg").write_bytes(original + str(number).encode())
    deployment = client.read_deployment_by_name(DEPLOYMENT)
    own = {
        "remote_save": f"s3://{bucket}/pre/",
        "batch_size": 10,
        "task_runner": "dask",
        "task_runner_address": cluster.address,
    }
    given = {"dataset": target.dataset, "source": str(tmp_path / "source"), "settings": own}
    run = client.create_flow_run_from_deployment(deployment.id, parameters=given)
    deadline = time.monotonic() + 180
    while not target.listed("thumbnails/"):
        assert time.monotonic() < deadline, log_of(client, run.id)
        time.sleep(0.2)
    assert _children(cluster), "Pictures are being made smaller."
    client.set_flow_run_state(run.id, Cancelling())
    time.sleep(15)
    there, children, at_work = target.listed(), _children(cluster), _at_work(cluster)
    assert (children, at_work) == ([], [])
    ended = wait_for_end(client, run.id)
    assert ended.state_name == "Cancelled"
    time.sleep(5)
    assert set(target.listed()) == set(there)
    assert 0 < len(target.listed("images/")) < 401
    again = client.create_flow_run_from_deployment(deployment.id, parameters=given)
    ended = wait_for_end(client, again.id, 240)
    assert ended.state_name == "Completed", log_of(client, again.id)
    assert target.current()["counts"]["unchanged"] > 0


def _children(cluster: Cluster) -> list[str]:
    """What the workers have started: decoders, and s5cmd."""
    return [
        child.name()
        for worker in cluster.workers
        for child in psutil.Process(worker.pid).children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE
    ]


def _at_work(cluster: Cluster) -> list[str]:
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:
        return [key for keys in client.processing().values() for key in keys]
