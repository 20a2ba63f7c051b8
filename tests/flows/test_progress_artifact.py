"""What is shown of a run in the UI neither delays nor ends what is done, where Prefect's API is slow or away."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact
from prefect.exceptions import ObjectNotFound

from imagehaul.flows import artifacts, progress_artifact, publication_event
from imagehaul.flows.deliver_here import deliver_here
from imagehaul.flows.prefect_server import not_in_the_way
from imagehaul.flows.progress_artifact import ProgressArtifact
from imagehaul.records import Request
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store
from tests.support.delivering import Lines, draw
from tests.support.prefect_runs import Prefect

pytestmark = pytest.mark.prefect
_REQUEST = httpx.Request("POST", "http://prefect")
REFUSED = httpx.HTTPStatusError("413", request=_REQUEST, response=httpx.Response(413, request=_REQUEST))


@pytest.fixture(scope="module")
def client(prefect: Prefect) -> Iterator[SyncPrefectClient]:
    with prefect.used_here() as client:
        yield client


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine is busy, Prefect's server takes its time."""
    monkeypatch.setattr(progress_artifact, "LAST_SECONDS", 60)


@pytest.fixture
def key() -> str:
    return f"progress-{uuid.uuid4().hex[:8]}"


def shown(client: SyncPrefectClient, key: str) -> list[Artifact]:
    return client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))


def away(*_: Any, **__: Any) -> None:
    raise httpx.ConnectError("All connection attempts failed")


def test_it_is_one_bar_that_ends_at_the_latest_place(client: SyncPrefectClient, key: str) -> None:
    @flow
    def work() -> None:
        bar = ProgressArtifact(key)
        for percent in range(0, 101, 5):
            bar.show(percent, f"{percent} of 100 images")
        bar.wait()

    work()
    (artifact,) = shown(client, key)
    assert (artifact.data, artifact.description) == (100.0, "100 of 100 images")
    assert artifact.flow_run_id


def test_a_server_that_does_not_answer_delays_nothing(
    client: SyncPrefectClient, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, asked, real = threading.Event(), [], progress_artifact.update_progress_artifact

    def late(**named: Any) -> Any:
        asked.append(named["progress"])
        assert answered.wait(30)
        return real(**named)

    monkeypatch.setattr(progress_artifact, "update_progress_artifact", late)

    @flow
    def work() -> float:
        bar = ProgressArtifact(key)
        bar.show(0, "begun")
        bar.wait()
        began = time.monotonic()
        for percent in range(1, 101):
            bar.show(percent, f"{percent} of 100 images")
        took = time.monotonic() - began
        answered.set()
        bar.wait()
        return took

    assert work() < 10, "An answer takes until the end here, or 30 s."
    assert len(asked) <= 3, "While one is on its way, only the latest of the others is kept."
    assert [artifact.data for artifact in shown(client, key)] == [100.0]


def test_an_api_that_is_away_ends_no_delivery(
    client: SyncPrefectClient,
    store: Store,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for module, name in (
        (progress_artifact, "create_progress_artifact"),
        (artifacts, "create_markdown_artifact"),
        (publication_event, "emit_event"),
    ):
        monkeypatch.setattr(module, name, away)
    source = tmp_path / "source"
    for number in range(3):
        draw(source / f"{number}.jpg", seed=number)
    settings = Settings(remote_save=f"s3://{bucket}/", workers=1, batch_size=25)
    summary = deliver_here(Request("away", str(source)), settings, store, Lines())
    assert (summary.counts.delivered, summary.published, summary.exit_status) == (3, True, 0)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert sum("The progress could not be shown (ConnectError" in line for line in warnings) == 1
    assert sum("artifacts of this run are missing" in line for line in warnings) == 1


@pytest.mark.parametrize("error", [ObjectNotFound(ValueError("gone")), httpx.ReadTimeout("late"), REFUSED])
def test_what_is_only_told_ends_no_run_whatever_prefect_says(
    client: SyncPrefectClient, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    @flow
    def work() -> str:
        with not_in_the_way("nobody knows"):
            raise error
        return "done"

    assert work() == "done"
    assert any("away or refuses, so that nobody knows" in record.getMessage() for record in caplog.records)


def test_a_bug_among_what_is_told_is_no_refusal(client: SyncPrefectClient) -> None:
    @flow
    def work() -> None:
        with not_in_the_way("nobody knows"):
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        work()
