"""`imagehaul deploy` of what lies on the server already: what the file says is so again, and what people did stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from imagehaul.errors import HaulError
from imagehaul.flows import prefect_server
from imagehaul.flows.deploy import Deployer
from imagehaul.flows.work_pools import make_room
from imagehaul.store.endpoint import Store
from tests.support.deploying import ENVIRONMENT, deploy, stored, with_data_sets, write
from tests.support.prefect_runs import Prefect, save_block

pytestmark = pytest.mark.prefect


@pytest.fixture(scope="module")
def client(prefect: Prefect, store: Store) -> Iterator[SyncPrefectClient]:
    with prefect.used_here() as client:
        save_block("minio", store)
        yield client


def test_a_schedule_that_is_switched_on_as_the_v2_ui_does_keeps_its_data_set_and_stays_on(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    file = with_data_sets(tmp_path, {"dataset": "raccoon", "source": "/srv/raccoon", "cron": "0 2 * * *"})
    deploy("deliver/raccoon", file=file)
    before = stored(client, "deliver/raccoon")
    client.update_deployment_schedule(before.id, before.schedules[0].id, active=True)
    deploy("deliver/raccoon", file=file)
    after = stored(client, "deliver/raccoon")
    client.update_deployment_schedule(after.id, after.schedules[0].id, active=False)
    assert after.schedules[0].active
    assert after.parameters == before.parameters


def test_what_somebody_did_to_a_deployment_stays(client: SyncPrefectClient, tmp_path: Path) -> None:
    file = write(tmp_path, name="touched", schedules=[{"slug": "nightly", "cron": "0 2 * * *", "active": False}])
    deploy(file=file)
    made = stored(client, "deliver/touched")
    client.update_deployment_schedule(made.id, made.schedules[0].id, active=True)
    cron = CronSchedule(cron="0 5 * * *", timezone="Europe/Berlin")
    noon = {"schedule": cron, "parameters": {"dataset": "noon"}, "max_scheduled_runs": 7}
    client.create_deployment_schedules(
        made.id,
        [DeploymentScheduleCreate(slug="noon", active=False, **noon), DeploymentScheduleCreate(active=True, **noon)],
    )
    limit = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    client.update_deployment(made.id, DeploymentUpdate(paused=True, concurrency_limit=3, concurrency_options=limit))
    before = stored(client, "deliver/touched")
    deployer = Deployer(file, None, ENVIRONMENT)
    assert [done.obstacle for done in deployer.deploy()] == [""]
    after = stored(client, "deliver/touched")
    client.delete_deployment(after.id)
    assert after.paused
    assert after.global_concurrency_limit
    assert (after.global_concurrency_limit.limit, after.concurrency_options) == (3, limit)
    assert schedules_of(after) == schedules_of(before)
    [nightly] = [schedule for schedule in after.schedules if schedule.slug == "nightly"]
    assert nightly.active
    [said] = [line for line in deployer.warnings if line.startswith("deliver/touched keeps schedules")]
    assert "that prefect.yaml does not have: " in said
    assert "noon" in said
    assert "one without a slug (cron 0 5 * * *)" in said


def schedules_of(deployment: DeploymentResponse) -> dict[UUID, Any]:
    """All that may be set of each."""
    return {schedule.id: schedule.model_dump(exclude={"id", "created", "updated"}) for schedule in deployment.schedules}


def test_a_schedule_has_the_times_of_the_file_again_and_a_limit_that_it_names_holds(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    file = write(
        tmp_path,
        name="moved",
        schedules=[{"slug": "nightly", "cron": "0 2 * * *"}],
        concurrency_limit={"limit": 2, "collision_strategy": "CANCEL_NEW"},
    )
    deploy(file=file)
    made = stored(client, "deliver/moved")
    client.update_deployment_schedule(
        made.id, made.schedules[0].id, schedule=CronSchedule(cron="0 5 * * *"), parameters={"dataset": "x"}
    )
    client.update_deployment(made.id, DeploymentUpdate(concurrency_limit=3))
    deploy(file=file)
    after = stored(client, "deliver/moved")
    client.delete_deployment(after.id)
    assert schedules_of(after) == schedules_of(made)
    assert after.global_concurrency_limit
    assert after.global_concurrency_limit.limit == 2


def test_an_interval_is_not_counted_anew_from_each_deploy(client: SyncPrefectClient, tmp_path: Path) -> None:
    def schedule(interval: int, **more: str) -> IntervalSchedule:
        deploy(file=write(tmp_path, name="hourly", schedules=[{"slug": "hourly", "interval": interval, **more}]))
        [found] = stored(client, "deliver/hourly").schedules
        assert isinstance(found.schedule, IntervalSchedule)
        return found.schedule

    first, second, longer = schedule(3600), schedule(3600), schedule(7200)
    anchored = schedule(7200, anchor_date="2024-01-01T00:00:00Z")
    client.delete_deployment(stored(client, "deliver/hourly").id)
    assert second == first
    assert longer.anchor_date > first.anchor_date
    assert anchored.anchor_date.year == 2024


def test_a_data_set_whose_row_names_no_time_any_more_has_no_schedule(client: SyncPrefectClient, tmp_path: Path) -> None:
    row = {"dataset": "seldom", "source": "/srv/seldom", "cron": "0 2 * * *"}
    deploy("seldom", file=with_data_sets(tmp_path, row))
    before = stored(client, "deliver/seldom").schedules
    del row["cron"]
    deploy("seldom", file=with_data_sets(tmp_path, row))
    after = stored(client, "deliver/seldom")
    client.delete_deployment(after.id)
    assert (len(before), after.schedules) == (1, [])


@pytest.mark.parametrize("at_once", [200, 1])
def test_a_data_set_that_is_listed_no_more_and_goes_on_is_named(
    client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(prefect_server, "AT_ONCE", at_once)
    rows = [{"dataset": name, "source": "/srv/x", "cron": "0 2 * * *"} for name in ("gone", "stays", "off")]
    names = [f"deliver/{row['dataset']}" for row in rows]
    deploy(*names, file=with_data_sets(tmp_path, *rows))
    made = [stored(client, name) for name in names]
    for deployment in made[:2]:
        client.update_deployment_schedule(deployment.id, deployment.schedules[0].id, active=True)
    deployer = Deployer(with_data_sets(tmp_path, rows[1]), None, ENVIRONMENT)
    deployer.deploy(["deliver/minio"])
    for deployment in made:
        client.delete_deployment(deployment.id)
    [said] = [line for line in deployer.warnings if "under data_sets" in line]
    assert said.startswith("deliver/gone is of a data set that the file does not have under data_sets, and its")


def test_an_api_that_goes_away_meanwhile_is_said_in_words(
    client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_room_at_last(client: SyncPrefectClient, wanted: dict[str, Any]) -> None:
        make_room(client, wanted)
        client._client.base_url = "http://127.0.0.1:9/api"

    monkeypatch.setattr("imagehaul.flows.deploy.make_room", make_room_at_last)
    words = r"The Prefect API http://\S+ does not answer \(\w+\)\.\nStart it .*Deploy again then"
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), pytest.raises(HaulError, match=words):
        deploy(file=write(tmp_path, name="halfway"))


def test_a_pool_and_a_queue_that_another_deploy_makes_meanwhile_are_taken(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_by_the_other(reads: str, /, **wanted: Any) -> None:
        """Of what the client reads: it is not there, and then the other deploy makes it."""
        read = getattr(client, reads)

        def not_there(*asked: Any, **more: Any) -> Any:
            monkeypatch.setattr(client, reads, read)
            with get_client(sync_client=True) as other:
                make_room(other, wanted)
            raise ObjectNotFound(ValueError("not there"))

        monkeypatch.setattr(client, reads, not_there)

    first_by_the_other("read_work_pool", name="raced")
    make_room(client, {"name": "raced", "concurrency_limit": 3})
    assert client.read_work_pool("raced").concurrency_limit == 3
    first_by_the_other("read_work_queue_by_name", name="raced", work_queue_name="queue", concurrency_limit=2)
    make_room(client, {"name": "raced", "work_queue_name": "queue", "concurrency_limit": 5})
    assert client.read_work_queue_by_name("queue", work_pool_name="raced").concurrency_limit == 2
