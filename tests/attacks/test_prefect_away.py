"""Prefect's server goes away while a flow run delivers, as in an upgrade, and comes back."""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest

from imagehaul.flows.deploy import Deployer
from imagehaul.local.local_prefect import free_port, listening, prefect_environment, prefect_server, prefect_worker
from imagehaul.store.endpoint import Store
from tests.support.delivering import Target, draw
from tests.support.fault_proxy import Exchange, FaultProxy
from tests.support.prefect_runs import DEPLOYMENTS, POOL, Prefect, save_block, wait_for_end

pytestmark = [pytest.mark.prefect, pytest.mark.attack]
AWAY_SECONDS = 70
"""Prefect's client asks again for 62."""
IMAGES = 300


@pytest.mark.timeout(600)
def test_a_delivery_goes_on_without_its_server_and_is_completed_when_that_is_back(
    store: Store, bucket: str, tmp_path: Path
) -> None:
    began, dataset = threading.Event(), f"set-{uuid.uuid4().hex[:6]}"

    def watch(exchange: Exchange) -> None:
        if exchange.method == "PUT" and "/images/" in exchange.path:
            began.set()

    for number in range(IMAGES):
        draw(tmp_path / "source" / f"{number}.jpg", size=(640, 480), seed=number)
    port = free_port()
    environment = prefect_environment(tmp_path, port)
    prefect = Prefect(f"http://127.0.0.1:{port}", tmp_path, environment)
    with FaultProxy(store, watch) as proxy, ExitStack() as parts:
        with prefect_server(tmp_path, listening(port), environment), prefect.used_here() as client:
            save_block("minio", proxy.store)
            Deployer(DEPLOYMENTS, None, {"REMOTE_SAVE": f"s3://{bucket}/"}).deploy(["minio"])
            deployment = client.read_deployment_by_name("deliver/minio")
            settings = {**deployment.parameters["settings"], "batch_size": 25}
            (tmp_path / "worker").mkdir()
            parts.enter_context(prefect_worker(tmp_path / "worker", POOL, environment))
            run = client.create_flow_run_from_deployment(
                deployment.id,
                parameters={"dataset": dataset, "source": str(tmp_path / "source"), "settings": settings},
            )
            assert began.wait(120)
        time.sleep(AWAY_SECONDS)
        assert Target(store, bucket, "", dataset).current()["counts"]["delivered"] == IMAGES
        with prefect_server(tmp_path, listening(port), environment), prefect.used_here() as client:
            ended = wait_for_end(client, run.id)
            assert ended.state
            assert (
                ended.state.message
                == f"{dataset}: {IMAGES} images: {IMAGES} delivered, 0 unchanged, 0 rejected, 0 failed"
            )
