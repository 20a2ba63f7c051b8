"""`imagehaul automations`: a person is told, by a real message to a real address."""

from __future__ import annotations

import http.server
import json
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.schemas.automations import EventTrigger
from prefect.states import Cancelled, Completed, Crashed, Failed

from imagehaul.errors import HaulError, SettingsError
from imagehaul.flows.automations import LOST_RUNS, NO_PROCESS, install, renew_lost_runs
from imagehaul.flows.deliver_here import deliver_here
from imagehaul.records import Request
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store
from tests.support.delivering import Lines, draw
from tests.support.prefect_runs import Prefect

pytestmark = pytest.mark.prefect
FILE = Path(__file__).parents[2] / "automations.yaml"


@pytest.fixture(scope="module")
def client(prefect: Prefect) -> Iterator[SyncPrefectClient]:
    with prefect.used_here() as client:
        yield client


@pytest.fixture(scope="module")
def messages(client: SyncPrefectClient) -> Iterator[list[dict[str, str]]]:
    """What reaches the webhook of the block custom-webhook/team."""
    received: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Not into the tests' output."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    CustomWebhookNotificationBlock(
        name="team",
        url=f"http://127.0.0.1:{server.server_port}/",
        json_data={"subject": "{{subject}}", "body": "{{body}}"},
    ).save("team", overwrite=True)
    yield received
    server.shutdown()
    server.server_close()


def wait_for_message(messages: list[dict[str, str]], words: str) -> dict[str, str]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for message in messages:
            if words in message["subject"]:
                return message
        time.sleep(0.2)
    raise AssertionError(f"No message says {words!r}: {messages}")


def names(client: SyncPrefectClient) -> list[str]:
    return [item["name"] for item in client.request("POST", "/automations/filter", json={}).json()]


def test_installing_again_brings_up_to_date_and_adds_nothing(
    client: SyncPrefectClient, messages: list[dict[str, str]]
) -> None:
    installed = install(FILE, "custom-webhook/team", 0.05)
    install(FILE, "custom-webhook/team", 0.2)
    assert sorted(name for name in names(client) if name.startswith("imagehaul: ")) == sorted(installed)


def test_without_a_notification_block_lost_runs_are_marked_and_nobody_is_told(client: SyncPrefectClient) -> None:
    assert install(FILE) == [LOST_RUNS]
    assert renew_lost_runs(client) == []


def test_what_somebody_switched_off_stays_off(client: SyncPrefectClient) -> None:
    install(FILE)
    [found] = client.read_automations_by_name(LOST_RUNS)
    client.pause_automation(found.id)
    install(FILE)
    [after] = client.read_automations_by_name(LOST_RUNS)
    client.resume_automation(found.id)
    assert (after.id, after.enabled) == (found.id, False)


def signs(client: SyncPrefectClient) -> set[str]:
    """The events after which a run is not lost."""
    [found] = client.read_automations_by_name(LOST_RUNS)
    assert isinstance(found.trigger, EventTrigger)
    return found.trigger.expect


def test_no_run_that_has_ended_or_waits_counts_as_lost(client: SyncPrefectClient) -> None:
    install(FILE)
    assert sorted(NO_PROCESS) == ["prefect.flow-run.Suspended", "prefect.flow-run.Waiting for the data set"]
    final = {f"prefect.flow-run.{state.name}" for state in (Completed(), Failed(), Cancelled(), Crashed())}
    assert signs(client) == {"prefect.flow-run.heartbeat"} | final | NO_PROCESS


def test_a_deploy_renews_the_mark_that_an_earlier_version_installed(client: SyncPrefectClient, tmp_path: Path) -> None:
    older = [line for line in FILE.read_text().splitlines() if not any(event in line for event in NO_PROCESS)]
    (tmp_path / "older.yaml").write_text("\n".join(older))
    install(tmp_path / "older.yaml")
    assert not signs(client) & NO_PROCESS
    assert renew_lost_runs(client) == [f"The automation {LOST_RUNS!r} marks runs that wait as crashed no more."]
    assert signs(client) >= NO_PROCESS


def test_a_failed_delivery_is_told_with_its_reason(
    messages: list[dict[str, str]], store: Store, bucket: str, tmp_path: Path
) -> None:
    install(FILE, "custom-webhook/team", 0.05)
    dataset = f"set-{uuid.uuid4().hex[:6]}"
    with pytest.raises(HaulError):
        deliver_here(Request(dataset, str(tmp_path / "gone")), Settings(remote_save=f"s3://{bucket}/"), store, Lines())
    message = wait_for_message(messages, f"deliver {dataset} Failed")
    assert "cannot be read" in message["body"]
    assert "/runs/flow-run/" in message["body"]


def test_more_rejected_images_than_the_share_are_told_and_fewer_are_not(
    messages: list[dict[str, str]], store: Store, bucket: str, tmp_path: Path
) -> None:
    install(FILE, "custom-webhook/team", 0.25)
    settings = Settings(remote_save=f"s3://{bucket}/", max_rejected=1, workers=1)
    for dataset, broken in (("few", 1), ("many", 2)):
        folder = tmp_path / dataset
        for number in range(4):
            draw(folder / f"{number}.jpg", seed=number)
        for number in range(broken):
            (folder / f"{number}.jpg").write_bytes(b"no picture")
        deliver_here(Request(f"{bucket}-{dataset}", str(folder)), settings, store, Lines())
    message = wait_for_message(messages, f"{bucket}-many rejected 50 %")
    assert "2 of 4 images were rejected" in message["body"]
    assert not [message for message in messages if f"{bucket}-few" in message["subject"]]


def test_a_block_that_is_not_there_and_a_share_that_is_none_are_said(client: SyncPrefectClient) -> None:
    with pytest.raises(SettingsError, match='no notification block "custom-webhook/nobody"'):
        install(FILE, "custom-webhook/nobody", 0.05)
    for share in (5, float("nan"), float("inf")):
        with pytest.raises(SettingsError, match="is no share"):
            install(FILE, "custom-webhook/team", share)
