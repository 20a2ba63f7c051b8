"""The snippets of docs/python.md do what the page says, against a real store and a real Prefect server."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound

from imagehaul.delivery.summary import Summary
from imagehaul.flows.deploy import Deployer
from imagehaul.local.local_prefect import stop
from imagehaul.store.endpoint import Store
from tests.support.delivering import draw
from tests.support.prefect_runs import Prefect, log_of, wait_for_end

pytestmark = pytest.mark.prefect
PAGE = Path(__file__).parents[2] / "docs" / "python.md"


@pytest.fixture(scope="module")
def client(prefect: Prefect) -> Iterator[SyncPrefectClient]:
    with prefect.used_here() as client:
        yield client


@pytest.fixture
def snippets(store: Store, bucket: str, tmp_path: Path) -> dict[str, str]:
    """By their headings, with this test's store, bucket and source in place of the page's."""
    for number in range(3):
        draw(tmp_path / "raccoon" / f"{number}.jpg", seed=number)
    here = {
        "http://minio:9000": store.url,
        '"KEY"': repr(store.keys().access_key),
        '"SECRET"': repr(store.keys().secret_key),
        "/srv/raccoon": str(tmp_path / "raccoon"),
        "images/data-sets": f"{bucket}/data-sets",
    }
    text = PAGE.read_text()
    for name, value in here.items():
        assert name in text
        text = text.replace(name, value)
    return dict(re.findall(r"^## ([^\n]+)\n.*?```python\n(.*?)```", text, re.S | re.M))


def write_deployment(folder: Path, bucket: str) -> Path:
    file = folder / "prefect.yaml"
    file.write_text(
        f"""deployments:
- name: docs
  entrypoint: imagehaul.flows.deliver.deliver
  work_pool: {{name: imagehaul}}
  parameters:
    store: {{$ref: {{block_document_slug: imagehaul-object-store/docs}}}}
    settings: {{remote_save: "s3://{bucket}/data-sets/"}}
"""
    )
    return file


def test_the_page_in_its_order(
    prefect: Prefect, client: SyncPrefectClient, snippets: dict[str, str], bucket: str, tmp_path: Path
) -> None:
    names: dict[str, Any] = {"__name__": "docs"}
    exec(snippets["A store block"], names)
    exec(snippets["As a subflow"], names)
    assert names["delivered"] == 3
    exec(snippets["Reading the index"], names)
    assert names["table"].num_rows == 3
    exec(snippets["The event of a publication"], names)
    Deployer(write_deployment(tmp_path, bucket), None, {}).deploy()
    with prefect.worker():
        exec(snippets["By a deployment"], names)
    assert isinstance(names["summary"], Summary)
    assert names["summary"].counts.unchanged == 3
    assert names["summary"].counts.objects == 3, "The other size of thumbnails."


def test_each_flow_is_served_and_reaches_its_own_words(
    prefect: Prefect, client: SyncPrefectClient, snippets: dict[str, str], tmp_path: Path
) -> None:
    exec(snippets["A store block"], {})
    (tmp_path / "served.py").write_text(snippets["Serving it yourself"])
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "served.py"], cwd=tmp_path, env=prefect.environment, stdout=log, stderr=log
        )
    try:
        store = client.read_block_document_by_name("docs", "imagehaul-object-store", include_secrets=False)
        gone = str(tmp_path / "gone")
        of_a_set = {"dataset": f"x-{uuid.uuid4().hex[:6]}", "store": {"$ref": {"block_document_id": str(store.id)}}}
        asked = {
            "deliver/served": ({**of_a_set, "source": gone}, f"The source {gone!r} cannot be read"),
            "verify/served": (of_a_set, "was never published"),
            "deliver-many/served": ({"deployment": "deliver/served"}, "There is no data set to deliver"),
        }
        runs = {}
        for name, (parameters, words) in asked.items():
            deployment = wait_for_deployment(client, name)
            runs[client.create_flow_run_from_deployment(deployment, parameters=parameters).id] = words
        for run, words in runs.items():
            ended = wait_for_end(client, run)
            assert ended.state
            message = ended.state.message or ""
            assert (ended.state_name, words in message) == ("Failed", True), log_of(client, run)
            # What goes wrong outside is said as on the command line.
            log = wait_for_log(client, run, message)
            errors = [line for line in log.splitlines() if line.startswith(("40 ", "50 "))]
            assert message in log
            assert errors == [f"40 {message.splitlines()[0]}"], "The reason is the last error line, and the only one."
            assert "Traceback" not in log
    finally:
        stop(server)


def wait_for_deployment(client: SyncPrefectClient, name: str) -> uuid.UUID:
    deadline = time.monotonic() + 60
    while True:
        try:
            return client.read_deployment_by_name(name).id
        except ObjectNotFound:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


def wait_for_log(client: SyncPrefectClient, run: uuid.UUID, words: str) -> str:
    """The lines come a moment after the run's end."""
    deadline = time.monotonic() + 60
    while words not in (log := log_of(client, run)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return log
