"""`imagehaul deploy`: what lies on the server afterwards, and that no secret does."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse

from imagehaul.errors import SettingsError
from imagehaul.flows.deploy import Deployer
from imagehaul.store.endpoint import Store
from tests.support.prefect_runs import DEPLOYMENTS, Prefect, save_block

pytestmark = pytest.mark.prefect
STORES = ("embedded", "minio", "aws")
ENVIRONMENT = {"REMOTE_SAVE": "s3://bucket/from-environment/"}


@pytest.fixture(scope="module")
def client(prefect: Prefect, store: Store) -> Iterator[SyncPrefectClient]:
    with prefect.used_here() as client:
        for name in STORES:
            save_block(name, store)
        yield client


def deploy(*names: str, file: Path = DEPLOYMENTS, environ: dict[str, str] = ENVIRONMENT) -> dict[str, str]:
    """Obstacles, by name."""
    return {done.name: done.obstacle for done in Deployer(file, None, environ).deploy(names)}


def stored(client: SyncPrefectClient, name: str) -> DeploymentResponse:
    return client.read_deployment_by_name(name)


def write(folder: Path, **entry: Any) -> Path:
    """A file with one deployment."""
    content = {
        "name": "own",
        "entrypoint": "imagehaul.flows.deliver.deliver",
        "work_pool": {"name": "imagehaul"},
        **entry,
    }
    file = folder / "prefect.yaml"
    file.write_text(json.dumps({"deployments": [content]}))
    return file


def test_every_deployment_of_the_file_is_made(client: SyncPrefectClient) -> None:
    assert set(deploy().values()) == {""}
    for name in STORES:
        deployment = stored(client, f"deliver/{name}")
        assert deployment.work_pool_name == "imagehaul"
        assert deployment.tags == ["imagehaul", name]
        assert deployment.description
        assert deployment.global_concurrency_limit
        assert deployment.enforce_parameter_schema


def test_deploying_again_changes_nothing(client: SyncPrefectClient) -> None:
    deploy()
    before = stored(client, "deliver/minio")
    deploy()
    after = stored(client, "deliver/minio")
    assert (after.id, after.parameters) == (before.id, before.parameters)
    assert [schedule.slug for schedule in after.schedules] == [schedule.slug for schedule in before.schedules]


def test_the_block_is_stored_by_its_id_which_alone_makes_the_form_show_it(client: SyncPrefectClient) -> None:
    deploy("minio")
    block = client.read_block_document_by_name("minio", "imagehaul-object-store", include_secrets=False)
    assert stored(client, "deliver/minio").parameters["store"] == {"$ref": {"block_document_id": str(block.id)}}


def test_the_settings_are_resolved_once_and_written_in_without_the_endpoint(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"THUMBNAIL_SIZE": 99, "OBJECT_STORE_URL": "http://elsewhere:9000"}')
    file = write(tmp_path, parameters={"settings": {"crop_margin": 7}})
    assert deploy(file=file) == {"deliver/own": ""}
    settings = stored(client, "deliver/own").parameters["settings"]
    assert settings["thumbnail_size"] == 99
    assert settings["crop_margin"] == 7
    assert settings["remote_save"] == ENVIRONMENT["REMOTE_SAVE"]
    assert settings["thumbnail_quality"] == 85
    assert "object_store_url" not in settings


def test_a_relative_source_becomes_absolute_since_the_worker_runs_elsewhere(client: SyncPrefectClient) -> None:
    deploy("embedded")
    assert stored(client, "deliver/embedded").parameters["source"] == str(DEPLOYMENTS.parent / ".state/sample")


def test_schedules_are_off_have_slugs_and_parameters_of_their_own(client: SyncPrefectClient) -> None:
    deploy("minio")
    schedules = {schedule.slug: schedule for schedule in stored(client, "deliver/minio").schedules}
    assert set(schedules) == {"raccoon-nightly", "bccd-weekly"}
    assert not any(schedule.active for schedule in schedules.values())
    assert schedules["bccd-weekly"].parameters["dataset"] == "bccd"


def test_a_schedule_that_somebody_switched_on_stays_on(client: SyncPrefectClient) -> None:
    deploy("minio")
    deployment = stored(client, "deliver/minio")
    chosen = next(schedule for schedule in deployment.schedules if schedule.slug == "raccoon-nightly")
    client.update_deployment_schedule(deployment.id, chosen.id, active=True)
    deploy("minio")
    after = {schedule.slug: schedule.active for schedule in stored(client, "deliver/minio").schedules}
    client.update_deployment_schedule(deployment.id, chosen.id, active=False)
    assert after == {"raccoon-nightly": True, "bccd-weekly": False}


def test_a_missing_block_is_named_with_the_page_where_it_is_made(client: SyncPrefectClient, tmp_path: Path) -> None:
    reference = {"$ref": {"block_document_slug": "imagehaul-object-store/nowhere"}}
    obstacle = deploy(file=write(tmp_path, parameters={"store": reference}))["deliver/own"]
    assert "no block 'nowhere'" in obstacle
    assert "/blocks/catalog/imagehaul-object-store/create" in obstacle


def test_a_missing_setting_is_named_and_the_others_are_deployed(client: SyncPrefectClient) -> None:
    outcome = deploy(environ={})
    assert "REMOTE_SAVE is required" in outcome["deliver/minio"]
    assert outcome["deliver/embedded"] == ""


def test_a_template_among_the_parameters_is_refused_since_it_may_stand_for_a_secret(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    file = write(tmp_path, parameters={"store": "{{ prefect.blocks.imagehaul-object-store.minio }}"})
    assert "hold a template" in deploy(file=file)["deliver/own"]


def test_a_store_that_is_written_out_in_place_of_a_reference_is_refused(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    file = write(tmp_path, parameters={"store": {"object_store_url": "http://x", "credentials": {"secret_key": "S"}}})
    obstacle = deploy(file=file)["deliver/own"]
    assert "does not take it" in obstacle
    assert "'S'" not in obstacle


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("deployments: [", "no YAML"),
        ("name: x", "no list of deployments"),
        ("deployments: [{name: a, entrypoint: imagehaul.flows.deliver.deliver}]", "no work_pool"),
    ],
)
def test_a_file_that_says_nothing_is_an_error_in_words(content: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text(content)
    with pytest.raises(SettingsError, match=words):
        deploy(file=file)


def test_a_name_that_the_file_has_not_is_refused_with_those_it_has(client: SyncPrefectClient) -> None:
    with pytest.raises(SettingsError, match="deliver/embedded, deliver/minio, deliver/aws, verify/embedded"):
        deploy("minoi")


def test_nothing_that_the_server_keeps_in_clear_holds_a_secret(
    prefect: Prefect, store: Store, client: SyncPrefectClient
) -> None:
    deploy()
    secret = store.keys().secret_key
    files = [file for file in prefect.folder.rglob("*") if file.is_file()]
    assert prefect.database in files
    with sqlite3.connect(prefect.database) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = [row for table in tables for row in database.execute(f'SELECT * FROM "{table}"')]
    assert any("from-environment" in str(row) for row in rows)
    assert not [row for row in rows if secret in str(row)]
    assert not [file for file in files if secret.encode() in file.read_bytes()]
