"""`imagehaul deploy`: what lies on the server afterwards, and that no secret does."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate

from imagehaul.blocks import ObjectStore
from imagehaul.errors import SettingsError
from imagehaul.flows.deploy import Deployer
from imagehaul.store.endpoint import Store
from tests.support.deploying import ENVIRONMENT, deploy, stored, with_data_sets, write
from tests.support.prefect_runs import DEPLOYMENTS, Prefect, save_block

pytestmark = pytest.mark.prefect
STORES = ("embedded", "minio", "aws")


@pytest.fixture(scope="module")
def client(prefect: Prefect, store: Store) -> Iterator[SyncPrefectClient]:
    with prefect.used_here() as client:
        for name in STORES:
            save_block(name, store)
        yield client


def test_every_deployment_of_the_file_is_made(client: SyncPrefectClient) -> None:
    assert set(deploy().values()) == {""}
    for name in STORES:
        deployment = stored(client, f"deliver/{name}")
        assert deployment.work_pool_name == "imagehaul"
        assert deployment.tags == ["imagehaul", name]
        assert deployment.description
        assert deployment.work_queue_name == "deliveries"
        assert deployment.enforce_parameter_schema


def test_the_shipped_verification_has_the_settings_of_the_delivery_without_which_it_could_not_repair(
    client: SyncPrefectClient,
) -> None:
    deploy("embedded")
    delivery, verification = (stored(client, f"{flow}/embedded").parameters for flow in ("deliver", "verify"))
    assert verification["settings"] == delivery["settings"]
    assert verification["dataset"] == delivery["dataset"]


def test_deploying_again_changes_nothing(client: SyncPrefectClient) -> None:
    deploy("minio")
    before = stored(client, "deliver/minio")
    deploy("minio")
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


@pytest.fixture
def scheduled(tmp_path: Path) -> Path:
    """The project's own file, with data sets that are delivered by a schedule."""
    return with_data_sets(
        tmp_path,
        {"dataset": "raccoon", "like": "deliver/minio", "source": "/srv/raccoon", "cron": "0 2 * * *"},
        {"dataset": "bccd", "source": "s3://in/bccd", "rerun": "all", "settings": {"crop_margin": 7}, "interval": 3600},
        {"dataset": "raccoon", "like": "verify/minio", "content": True, "cron": "0 4 1 * *"},
    )


def test_a_scheduled_data_set_has_a_deployment_whose_own_parameters_say_all(
    client: SyncPrefectClient, scheduled: Path
) -> None:
    names = ["deliver/raccoon", "deliver/bccd", "verify/raccoon"]
    assert deploy(*names, file=scheduled) == dict.fromkeys(names, "")
    raccoon, bccd, verify = (stored(client, name) for name in names)
    assert raccoon.parameters.items() >= {"dataset": "raccoon", "source": "/srv/raccoon"}.items()
    assert (bccd.parameters["rerun"], bccd.parameters["settings"]["crop_margin"]) == ("all", 7)
    assert verify.parameters["content"]
    assert raccoon.parameters["store"] == stored_store(client)
    assert raccoon.tags == ["imagehaul", "minio", "dataset:raccoon"]
    for deployment in (raccoon, bccd, verify):
        [schedule] = deployment.schedules
        assert (schedule.slug, schedule.active, schedule.parameters) == ("scheduled", False, {})


def stored_store(client: SyncPrefectClient) -> dict[str, Any]:
    block = client.read_block_document_by_name("minio", "imagehaul-object-store", include_secrets=False)
    return {"$ref": {"block_document_id": str(block.id)}}


def test_the_data_sets_may_stand_in_a_catalog(client: SyncPrefectClient, tmp_path: Path) -> None:
    (tmp_path / "catalog.csv").write_text("dataset,source,cron,THUMBNAIL_SIZE\nfrom-a-file,/srv/x,0 1 * * *,64\n")
    file = tmp_path / "prefect.yaml"
    file.write_text(DEPLOYMENTS.read_text().replace("data_sets: []", "data_sets: catalog.csv"))
    assert deploy("from-a-file", file=file) == {"deliver/from-a-file": ""}
    assert stored(client, "deliver/from-a-file").parameters["settings"]["thumbnail_size"] == 64


def test_a_schedule_with_parameters_is_refused_since_prefect_loses_them(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    schedule = {"slug": "nightly", "cron": "0 2 * * *", "parameters": {"dataset": "raccoon"}}
    obstacle = deploy(file=write(tmp_path, schedules=[schedule]))["deliver/own"]
    assert "has parameters of its own" in obstacle
    assert "under data_sets" in obstacle


def test_the_queue_of_deliveries_has_the_limit_until_somebody_changes_it(client: SyncPrefectClient) -> None:
    deploy("minio")
    queue = client.read_work_queue_by_name("deliveries", work_pool_name="imagehaul")
    client.update_work_queue(queue.id, concurrency_limit=5)
    deploy("minio")
    after = client.read_work_queue(queue.id)
    client.update_work_queue(queue.id, concurrency_limit=2)
    assert (queue.concurrency_limit, after.concurrency_limit) == (2, 5)


def test_steps_and_an_image_of_another_kind_of_pool_are_let_through(client: SyncPrefectClient, tmp_path: Path) -> None:
    steps = [{"prefect.deployments.steps.set_working_directory": {"directory": "/opt/imagehaul"}}]
    pool = {"name": "imagehaul", "job_variables": {"image": "registry.example/imagehaul:1"}}
    file = write(
        tmp_path,
        entrypoint=f"{DEPLOYMENTS.parent}/flows/deliver.py:deliver",
        pull=steps,
        work_pool=pool,
    )
    assert deploy(file=file) == {"deliver/own": ""}
    deployment = stored(client, "deliver/own")
    assert deployment.pull_steps == steps
    assert deployment.job_variables == pool["job_variables"]
    assert deployment.entrypoint == f"{DEPLOYMENTS.parent}/flows/deliver.py:deliver"


def test_a_deployment_of_an_earlier_version_is_renewed_or_named(client: SyncPrefectClient, tmp_path: Path) -> None:
    gone = ObjectStore()
    gone.save("gone", overwrite=True)
    reference = {"$ref": {"block_document_slug": "imagehaul-object-store/gone"}}
    deploy(file=write(tmp_path, name="old", parameters={"store": reference}))
    old = stored(client, "deliver/old")
    settings = {name: value for name, value in old.parameters["settings"].items() if name != "proof"}
    client.update_deployment(
        old.id,
        DeploymentUpdate(entrypoint="flows.deliver.deliver", parameters={**old.parameters, "settings": settings}),
    )
    client.delete_block_document(gone._block_document_id)
    deployer = Deployer(write(tmp_path), None, ENVIRONMENT)
    deployer.deploy()
    said = "\n".join(line for line in deployer.warnings if line.startswith("deliver/old "))
    client.delete_deployment(old.id)
    assert "now names its flow as imagehaul.flows.deliver.deliver" in said
    assert "names a block for store that was deleted" in said
    assert "lacks settings, such as PROOF" in said


def test_prefect_deploy_is_stopped_with_the_command_to_use(prefect: Prefect, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", DEPLOYMENTS],
        cwd=tmp_path, env=prefect.environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Deploy with: imagehaul deploy." in " ".join((done.stdout + done.stderr).split())


def test_without_its_block_a_deployment_is_left_out_and_so_is_what_delivers_through_it(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text(DEPLOYMENTS.read_text().replace("object-store/minio", "object-store/x").replace("minio", "none"))
    outcomes = {done.name: done for done in Deployer(file, None, ENVIRONMENT).deploy()}
    for name in ("deliver/none", "verify/none", "deliver-many/none"):
        assert outcomes[name].left_out, name
    assert not outcomes["deliver/aws"].obstacle
    [asked_for] = Deployer(file, None, ENVIRONMENT).deploy(["deliver/none"])
    assert not asked_for.left_out


def test_a_missing_block_is_named_with_the_page_where_it_is_made(client: SyncPrefectClient, tmp_path: Path) -> None:
    reference = {"$ref": {"block_document_slug": "imagehaul-object-store/nowhere"}}
    obstacle = deploy(file=write(tmp_path, parameters={"store": reference}))["deliver/own"]
    assert "no block 'nowhere'" in obstacle
    assert "/blocks/catalog/imagehaul-object-store/create" in obstacle


def test_a_missing_setting_is_named_and_the_others_are_deployed(client: SyncPrefectClient) -> None:
    outcome = deploy(environ={})
    assert outcome["deliver/minio"] == (
        "REMOTE_SAVE is required: set it in .vl/config.json, in the environment, or in prefect.yaml."
    )
    assert outcome["deliver/embedded"] == ""


def test_a_template_among_the_parameters_is_refused_since_it_may_stand_for_a_secret(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    file = write(tmp_path, parameters={"store": "{{ prefect.blocks.imagehaul-object-store.minio }}"})
    assert "hold a template" in deploy(file=file)["deliver/own"]


@pytest.mark.parametrize(
    ("entrypoint", "words"),
    [
        ("imagehaul.flows.deliver.delivr", "'imagehaul.flows.deliver.delivr' cannot be loaded (AttributeError: "),
        (
            "imagehaul.flows.delvier.deliver",
            "cannot be loaded (ModuleNotFoundError: No module named ",
        ),
        ("broken.py:deliver", "'broken.py:deliver' cannot be loaded ("),
        ("nowhere.py:deliver", "'nowhere.py:deliver' cannot be loaded ("),
        ("deliver", "'deliver' cannot be loaded (ValueError: "),
        ("imagehaul.flows.deliver.DeliveryError", "is no flow, but of the type type."),
    ],
)
def test_an_entrypoint_that_cannot_be_loaded_is_named_and_the_others_are_deployed(
    entrypoint: str, words: str, client: SyncPrefectClient, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("def deliver(:\n")
    file = with_data_sets(tmp_path, {"dataset": "after", "source": "/x", "like": "deliver/minio"})
    text = file.read_text().replace("deployments:\n", f"deployments:\n  - {{name: first, entrypoint: {entrypoint}}}\n")
    file.write_text(text.replace("{name: first,", "{name: first, work_pool: {name: imagehaul},"))
    outcomes = deploy("first", "after", file=file)
    assert outcomes.pop("deliver/after") == ""
    [(name, obstacle)] = outcomes.items()
    assert name.endswith("/first")
    assert obstacle.startswith("Its entrypoint ")
    assert words in obstacle


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"concurrency_limit": "2"}, "Its concurrency_limit is '2'. Write a number of runs, 1 or more, or limit: and"),
        ({"concurrency_limit": 0}, "Its concurrency_limit is 0. Write a number of runs, 1 or more"),
        ({"concurrency_limit": {"limit": 0}}, "is {'limit': 0}. Write a number of runs, 1 or more"),
        ({"concurrency_limit": {"limit": 1, "collision_strategy": "X"}}, "Input should be 'ENQUEUE' or 'CANCEL_NEW'"),
        ({"work_pool": {}}, "Its work_pool is {}: write a name under it."),
    ],
)
def test_a_limit_or_a_pool_that_cannot_be_is_refused_in_words(
    entry: dict[str, Any], words: str, client: SyncPrefectClient, tmp_path: Path
) -> None:
    assert words in deploy(file=write(tmp_path, **entry))["deliver/own"]


def test_a_limit_may_be_a_number_alone(client: SyncPrefectClient, tmp_path: Path) -> None:
    assert deploy(file=write(tmp_path, name="limited", concurrency_limit=1)) == {"deliver/limited": ""}
    deployment = stored(client, "deliver/limited")
    client.delete_deployment(deployment.id)
    assert deployment.global_concurrency_limit
    assert deployment.global_concurrency_limit.limit == 1


def test_what_the_flow_does_not_take_is_refused_with_what_it_takes(client: SyncPrefectClient, tmp_path: Path) -> None:
    file = write(tmp_path, parameters={"sorce": "/x", "thumbnail_size": 64})
    said = deploy(file=file)["deliver/own"]
    assert said.startswith("The flow takes no sorce, thumbnail_size. It takes allow_loss, annotations, ")


@pytest.mark.parametrize("parameters", [{"source": 2024}, {"annotations": ["boxes.csv", 7]}])
def test_a_place_that_is_no_text_is_refused(
    client: SyncPrefectClient, tmp_path: Path, parameters: dict[str, Any]
) -> None:
    (obstacle,) = deploy(file=write(tmp_path, parameters=parameters)).values()
    assert "is no text in YAML. Write it in quotes." in obstacle


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
        ("deployments: [", "not valid YAML"),
        ("name: x", "no list of deployments"),
        ("deployments: [{name: a, entrypoint: imagehaul.flows.deliver.deliver}]", "no work_pool"),
        ("deployments: [{name: a, entrypoint: 5, work_pool: {}}]", "the entrypoint 5 of a deployment is no text"),
        ("deployments: [{name: 2024, entrypoint: a.b, work_pool: {}}]", "the name 2024 of a deployment is no text"),
        ("deployments: [deliver]", "'deliver' stands among the deployments"),
        ("deployments: []\ndata_sets: [{dataset: 2024, source: /x}]", "dataset 2024 is no text in YAML. Write it in"),
        (
            "deployments: [{name: a, entrypoint: x.deliver, work_pool: {}, parameters: {source: sample}}]\n"
            "data_sets: [{dataset: birds, like: deliver/a, sorce: /x}]",
            "birds names no source, and would deliver that of deliver/a",
        ),
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


def test_flows_load_by_path_and_by_module_from_a_folder_that_has_flows_of_its_own(tmp_path: Path) -> None:
    for package in ("flows", "blocks"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("mine = True\n")
    names = ("deliver", "deliver_many", "verify")
    by_path = [f"{DEPLOYMENTS.parent}/flows/{name}.py:{name}" for name in names]
    by_module = [f"imagehaul.flows.{name}.{name}" for name in names]
    script = (
        "import sys; from prefect.flows import load_flow_from_entrypoint as load\n"
        "print(*(load(entrypoint).name for entrypoint in sys.argv[1:]))\n"
        "import flows, blocks; print(flows.mine, blocks.mine)\n"
    )
    command = [sys.executable, "-c", script, *by_path, *by_module]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["deliver", "deliver-many", "verify"] * 2 + ["True", "True"]
