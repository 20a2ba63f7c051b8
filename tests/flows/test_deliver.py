"""Deliveries as flow runs: on a real Prefect server, by a worker in another folder, and from the command line."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Cancelling, Pending, Scheduled

from imagehaul.blocks import ObjectStore
from imagehaul.delivery import chain
from imagehaul.delivery.batch_threads import in_threads
from imagehaul.delivery.summary import Summary
from imagehaul.errors import SourceError
from imagehaul.flows.deliver import deliver
from imagehaul.flows.deliver_here import deliver_here
from imagehaul.flows.deploy import Deployer
from imagehaul.flows.parameters import form_of
from imagehaul.flows.run_labels import tag_run
from imagehaul.flows.verify import verify
from imagehaul.flows.waiting import WAITING, waking_others
from imagehaul.records import Request
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store
from tests.support.delivering import Lines, Target, draw
from tests.support.prefect_runs import (
    DEPLOYMENTS,
    Prefect,
    artifacts_of,
    log_of,
    run_here,
    save_block,
    task_runs_of,
    wait_for,
    wait_for_end,
)

pytestmark = pytest.mark.prefect
DEPLOYMENT = "deliver/embedded"
WITHOUT_WORKER = "deliver/without-worker"
EMBEDDED = {"$ref": {"block_document_slug": "imagehaul-object-store/embedded"}}


@pytest.fixture(scope="module")
def client(prefect: Prefect, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncPrefectClient]:
    """A server with the deployments, and a worker for all but one of them, whose runs are done in this process."""
    file = write_without_worker(tmp_path_factory.mktemp("deployed"), "without-worker", {"remote_save": "s3://none/"})
    with prefect.used_here() as client:
        save_block("embedded", store)
        Deployer(DEPLOYMENTS, None, {}).deploy(["embedded"])
        Deployer(file, None, {}).deploy()
        with prefect.worker():
            yield client


def write_without_worker(folder: Path, name: str, settings: dict[str, Any]) -> Path:
    """A file with one deployment, whose pool no worker looks at."""
    entry = {
        "name": name,
        "entrypoint": "imagehaul.flows.deliver.deliver",
        "work_pool": {"name": "without-worker"},
        "parameters": {"store": EMBEDDED, "settings": settings},
    }
    (folder / "prefect.yaml").write_text(json.dumps({"deployments": [entry]}))
    return folder / "prefect.yaml"


@pytest.fixture
def target(store: Store, bucket: str) -> Target:
    return Target(store, bucket, dataset=f"set-{uuid.uuid4().hex[:6]}")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for number in range(5):
        draw(folder / f"f{number % 2}" / f"picture {number}.jpg", seed=number)
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def submit(
    client: SyncPrefectClient, target: Target, folder: Path, /, name: str = DEPLOYMENT, **parameters: Any
) -> FlowRun:
    """As the UI's form does: with all of the deployment's settings, but for what is said."""
    deployment = client.read_deployment_by_name(name)
    given = given_to(client, target, folder, **parameters)
    return client.create_flow_run_from_deployment(deployment.id, parameters=given)


def given_to(client: SyncPrefectClient, target: Target, folder: Path, /, **parameters: Any) -> dict[str, Any]:
    deployment = client.read_deployment_by_name(DEPLOYMENT)
    settings = deployment.parameters["settings"] | {"remote_save": f"s3://{target.bucket}/pre/", "max_rejected": 0.5}
    settings |= parameters.pop("settings", {})
    return {"dataset": target.dataset, "source": str(folder), "settings": settings, **parameters}


def here(client: SyncPrefectClient, target: Target, folder: Path, /, **parameters: Any) -> FlowRun:
    """The same run in this process, for what the worker has no part in: it takes seconds to start a process."""
    given = given_to(client, target, folder, **parameters)
    state = deliver(**given, store=ObjectStore.load("embedded"), return_state=True)
    assert state.state_details.flow_run_id
    return client.read_flow_run(state.state_details.flow_run_id)


def message(run: FlowRun) -> str:
    return (run.state and run.state.message) or ""


def test_a_run_from_the_form_delivers_and_a_retry_of_it_goes_on_from_what_is_proven(
    client: SyncPrefectClient, target: Target, source: Path
) -> None:
    run = wait_for_end(client, submit(client, target, source).id)
    assert run.state_name == "Completed", log_of(client, run.id)
    assert message(run) == f"{target.dataset}: 6 images: 5 delivered, 0 unchanged, 1 rejected, 0 failed"
    assert run.name == f"deliver {target.dataset}"
    assert len(target.listed("images/")) == 5
    assert target.current()["counts"]["delivered"] == 5
    assert {"summary", "progress", "problems", "contact-sheet"} == set(artifacts_of(client, run.id))
    client.set_flow_run_state(run.id, Scheduled(), force=True)
    run = wait_for(client, run.id, lambda found: found.run_count == 2 and found.state.is_final())
    assert message(run) == f"{target.dataset}: 6 images: 0 delivered, 5 unchanged, 1 rejected, 0 failed"


def test_a_run_that_leaves_something_unproven_fails(client: SyncPrefectClient, target: Target, source: Path) -> None:
    run = here(client, target, source, settings={"max_rejected": 0.0})
    assert run.state_name == "Failed"
    assert "1 rejected, 0 failed. Not published: 1 of 6 images are rejected" in message(run)


def test_settings_that_contradict_each_other_fail_with_the_command_lines_sentence(
    client: SyncPrefectClient, target: Target, source: Path
) -> None:
    contradiction = {"serve_original_image": True, "preprocess_image_transfer": "media_id"}
    run = here(client, target, source, settings=contradiction)
    assert "SERVE_ORIGINAL_IMAGE=true cannot go with PREPROCESS_IMAGE_TRANSFER=media_id: set it" in message(run)
    assert target.all_keys() == []


def test_a_relative_source_that_is_not_there_is_said_to_be_looked_up_where_the_worker_runs(
    client: SyncPrefectClient, target: Target
) -> None:
    run = run_here(client, submit(client, target, Path("not there"), name=WITHOUT_WORKER))
    assert "'not there' is a relative path" in message(run)


@pytest.mark.parametrize(
    "wrong",
    [
        {"dataset": "../x"},
        {"source": ""},
        {"rerun": "sometimes"},
        {"settings": {"thumbnail_size": 3}},
        {"settings": {"thumbnail_format": "gif"}},
        {"settings": {"object_store_url": "http://elsewhere"}},
        {"store": {"object_store_url": "http://elsewhere", "credentials": {"secret_key": "S"}}},
        {"store": "imagehaul-object-store/embedded"},
    ],
    ids=str,
)
def test_the_form_refuses_a_wrong_value_before_anything_runs(
    wrong: dict[str, Any], client: SyncPrefectClient, target: Target, source: Path
) -> None:
    with pytest.raises(PrefectHTTPStatusError, match="409"):
        submit(client, target, source, **wrong)


def test_of_a_cancelled_run_nothing_works_on_after_15_seconds_and_the_next_goes_on(
    client: SyncPrefectClient, target: Target, source: Path
) -> None:
    original = draw(source / "f0" / "large.jpg", size=(3000, 2000))
    for number in range(600):
        (source / f"copy {number}.jpg").write_bytes(original + bytes(str(number), "ascii"))
    settings = {"batch_size": 25, "workers": 1}
    run = submit(client, target, source, settings=settings)
    wait_for(client, run.id, lambda found: found.state.is_running())
    deadline = time.monotonic() + 60
    while not target.listed(".imagehaul/journal/") and time.monotonic() < deadline:
        time.sleep(0.2)
    children = _flow_processes()
    assert len(children) > 1
    client.set_flow_run_state(run.id, Cancelling())
    _, alive = psutil.wait_procs(children, timeout=15)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    # The worker tells the server of it some five seconds later, and more where the machine is busy.
    ended = wait_for_end(client, run.id)
    assert ended.state_name == "Cancelled"
    there = {Path(key).name for key in target.listed("images/")}
    for copy in [copy for copy in source.glob("copy *.jpg") if copy.name not in there][50:]:
        copy.unlink()
    again = here(client, target, source, settings=settings)
    assert again.state_name == "Completed", message(again)
    assert ", 0 unchanged" not in message(again)


def _flow_processes() -> list[psutil.Process]:
    """This test run's flow runs at work, and all below them: the worker is a child of ours."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any("prefect.engine" in " ".join(parent.cmdline()) for parent in (process, *process.parents())):
                found.append(process)
    return found


def test_a_plan_is_shown_and_gives_its_slot_back_until_somebody_accepts_that_very_plan(
    client: SyncPrefectClient, target: Target, source: Path
) -> None:
    run = submit(client, target, source, WITHOUT_WORKER, approve=True)
    first = run_here(client, run)
    assert first.state_name == "Suspended"
    assert not target.listed("images/")
    assert "plan" in artifacts_of(client, run.id)
    draw(source / "one more.jpg", seed=9)
    client.resume_flow_run(run.id, run_input={"decision": "deliver"})
    second = run_here(client, run)
    assert second.state_name == "Suspended"
    assert not target.listed("images/"), "The plan was another one by then."
    client.resume_flow_run(run.id, run_input={"decision": "deliver"})
    ended = run_here(client, run)
    assert "6 delivered" in message(ended)


def test_a_run_that_waits_for_a_data_set_holds_no_slot_names_the_holder_and_is_woken_by_its_end(
    client: SyncPrefectClient, target: Target, source: Path
) -> None:
    settings = Settings(remote_save=f"s3://{target.bucket}/pre/", max_rejected=1)
    seen: list[FlowRun] = []

    def look(_: Summary) -> bool:
        """While this run holds the data set."""
        run = submit(client, target, source)
        seen.append(wait_for(client, run.id, lambda found: found.state_name == WAITING))
        return True

    @flow(name="deliver", flow_run_name="the other one")
    def other() -> None:
        tag_run(target.dataset)
        with waking_others(target.dataset):
            chain.deliver(Request(target.dataset, str(source)), settings, target.store, in_threads, Lines(), look)

    other()
    [waited] = seen
    assert waited.state
    assert waited.state.type == StateType.SCHEDULED
    assert "Held by the flow run 'the other one': http://" in message(waited)
    ended = wait_for_end(client, waited.id)
    assert "0 delivered, 5 unchanged" in message(ended)
    assert ended.run_count >= 2


def test_a_plan_that_is_not_accepted_sends_nothing(client: SyncPrefectClient, target: Target, source: Path) -> None:
    run = submit(client, target, source, WITHOUT_WORKER, approve=True)
    assert run_here(client, run).state_name == "Suspended"
    client.resume_flow_run(run.id, run_input={"decision": "stop"})
    ended = run_here(client, run)
    assert ended.state_name == "Completed"
    assert message(ended).endswith("nothing was sent")
    assert not target.listed("images/")


def test_of_three_scheduled_data_sets_two_are_delivered_at_a_time(
    client: SyncPrefectClient, store: Store, bucket: str, source: Path, tmp_path: Path
) -> None:
    names = [f"set-{uuid.uuid4().hex[:6]}" for _ in range(3)]
    pattern = {
        "name": "pattern",
        "entrypoint": "imagehaul.flows.deliver.deliver",
        "work_pool": {"name": "imagehaul", "work_queue_name": names[0], "concurrency_limit": 2},
        "parameters": {
            "store": EMBEDDED,
            "settings": {"remote_save": f"s3://{bucket}/pre/", "max_rejected": 1},
        },
    }
    rows = [{"dataset": name, "like": "deliver/pattern", "source": str(source), "interval": 86400} for name in names]
    (tmp_path / "prefect.yaml").write_text(json.dumps({"deployments": [pattern], "data_sets": rows}))
    deployed = Deployer(tmp_path / "prefect.yaml", None, {}).deploy([f"deliver/{name}" for name in names])
    assert [done.obstacle for done in deployed] == ["", "", ""]
    deployments = [client.read_deployment_by_name(f"deliver/{name}") for name in names]
    begun = [client.create_flow_run_from_deployment(deployment.id) for deployment in deployments]
    most, deadline = 0, time.monotonic() + 150
    while time.monotonic() < deadline:
        runs = [client.read_flow_run(run.id) for run in begun]
        # By type, as the server counts: a worker names its Pending states ("Submitting").
        most = max(most, sum(run.state_type in (StateType.PENDING, StateType.RUNNING) for run in runs))
        if all(run.state and run.state.is_final() for run in runs):
            break
        time.sleep(0.5)
    for deployment in deployments:
        client.delete_deployment(deployment.id)
    assert sorted(message(run).partition(":")[0] for run in runs) == sorted(names)
    assert all("5 delivered" in message(run) for run in runs)
    assert most == 2
    assert {tag for run in runs for tag in run.tags} >= {"imagehaul", *(f"dataset:{name}" for name in names)}


def test_what_a_caller_leaves_out_of_the_settings_is_what_the_deployment_has(
    client: SyncPrefectClient, target: Target, source: Path, tmp_path: Path
) -> None:
    settings = {"remote_save": f"s3://{target.bucket}/pre/", "max_rejected": 1, "thumbnail_size": 64}
    Deployer(write_without_worker(tmp_path, target.dataset, settings), None, {}).deploy()
    deployment = client.read_deployment_by_name(f"deliver/{target.dataset}")
    given = {"dataset": target.dataset, "source": str(source), "settings": {"thumbnail_quality": 50}}
    run = client.create_flow_run_from_deployment(deployment.id, parameters=given, name="as I call it")
    ended = run_here(client, run)
    assert "5 delivered" in message(ended), log_of(client, run.id)
    assert target.open("thumbnails/f0/picture 0.jpg.jpg").width == 64
    assert ended.name == "as I call it"


def test_the_verify_flow_finds_what_is_missing_and_mends_it_from_a_source(
    client: SyncPrefectClient, target: Target, source: Path
) -> None:
    Deployer(DEPLOYMENTS, None, {}).deploy(["verify/embedded"])
    deployment = client.read_deployment_by_name("verify/embedded")
    settings = deployment.parameters["settings"] | {"max_rejected": 1, "workers": 1}
    del settings["remote_save"]
    target.deliver(source, settings=settings)
    target.store.client().delete_object(Bucket=target.bucket, Key=f"{target.root}images/f0/picture 0.jpg")
    given = {"dataset": target.dataset, "settings": settings | {"remote_save": f"s3://{target.bucket}/pre/"}}
    found = verify(**given, store=ObjectStore.load("embedded"), return_state=True)
    assert (found.name, "1 missing" in (found.message or "")) == ("Failed", True)
    # As a worker leaves it that has taken it.
    given |= {"repair_from": str(source)}
    run = client.create_flow_run_from_deployment(deployment.id, parameters=given, state=Pending())
    ended = run_here(client, run)
    assert ended.state_name == "Completed", log_of(client, run.id)
    assert "0 missing" in message(ended)


# -- from the command line --


def test_directly_and_as_a_flow_run_the_store_ledger_and_summary_are_the_same(
    prefect: Prefect, target: Target, source: Path
) -> None:
    direct = target.deliver(source, settings={"max_rejected": 0.5})
    stored, ledger, metadata = target.stored(), target.ledger(), target.metadata()
    other = Target(target.store, target.bucket, "flow/", target.dataset)
    settings = Settings(remote_save=f"s3://{target.bucket}/flow/", workers=1, max_rejected=0.5)
    with prefect.used_here():
        as_flow = deliver_here(Request(target.dataset, str(source)), settings, target.store, Lines())
    assert as_flow.counts == direct.counts
    assert (as_flow.headline, as_flow.reasons, as_flow.engine) == (direct.headline, direct.reasons, direct.engine)
    assert other.stored() == stored
    assert [_without_run(row) for row in other.ledger()] == [_without_run(row) for row in ledger]
    assert other.metadata()["media_items"] == metadata["media_items"]


def _without_run(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "run": "", "key": row["key"].split("/", 1)[-1] if row["key"] else ""}


def test_an_error_of_the_chain_reaches_the_caller_as_it_is(prefect: Prefect, target: Target, tmp_path: Path) -> None:
    settings = Settings(remote_save=f"s3://{target.bucket}/")
    with prefect.used_here(), pytest.raises(SourceError, match="cannot be read"):
        deliver_here(Request(target.dataset, str(tmp_path / "gone")), settings, target.store, Lines())


def test_no_parameter_of_a_run_from_the_command_line_holds_a_key(
    prefect: Prefect, target: Target, source: Path
) -> None:
    settings = Settings(remote_save=f"s3://{target.bucket}/", max_rejected=0.5)
    with prefect.used_here() as client:
        deliver_here(Request(target.dataset, str(source)), settings, target.store, Lines())
        runs = [run for run in client.read_flow_runs() if run.name == f"deliver {target.dataset}"]
    assert len(runs) == 1
    assert runs[0].parameters["settings"] == form_of(settings)
    assert target.store.keys().secret_key not in str(runs[0].parameters)


def test_task_runs_are_few(client: SyncPrefectClient, target: Target, tmp_path: Path) -> None:
    source = tmp_path / "many"
    picture = draw(source / "0.jpg", size=(40, 30))
    for number in range(1, 60):
        (source / f"{number}.jpg").write_bytes(picture)
    run = here(client, target, source, settings={"batch_size": 1, "skip_image_thumbnail_generation": True})
    tasks = task_runs_of(client, run.id, 9)
    assert "60 delivered" in message(run)
    assert len(tasks) <= 60 / 500 + 30, "Of sixty batches."
    stages = [task.name for task in tasks if "batch " not in task.name and "batches " not in task.name]
    assert stages == ["Check and lock", "Inventory", "Annotations", "Plan", "Batches", "Proof", "Publication", "Asset"]
