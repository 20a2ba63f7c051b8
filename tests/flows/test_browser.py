"""What a person does in the Prefect UI, in a real browser: Debian's chromium, without a window.

Prefect opens its V2 UI by default, at /v2, and serves V1 at / beside it. Most of this is V2; what both must show is
looked at in both.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, TimeoutError, expect, sync_playwright
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId, DeploymentFilterName
from prefect.client.schemas.objects import FlowRun

from imagehaul.blocks.object_store import load_store
from imagehaul.flows.deploy import Deployer
from imagehaul.flows.parameters import SHOWN
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from tests.support.delivering import Target, draw
from tests.support.prefect_runs import DEPLOYMENTS, Prefect, artifacts_of, save_block, wait_for, wait_for_end

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
SCHEDULED = f"scheduled-{uuid.uuid4().hex[:6]}"
pytestmark = [
    pytest.mark.prefect,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def client(prefect: Prefect, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncPrefectClient]:
    """The project's deployments, one more for a scheduled data set, and a worker."""
    folder = tmp_path_factory.mktemp("deployed")
    for number in range(2):
        draw(folder / "scheduled" / f"{number}.jpg", seed=number)
    row = f"{{dataset: {SCHEDULED}, source: {folder / 'scheduled'}, interval: 60}}"
    (folder / "prefect.yaml").write_text(DEPLOYMENTS.read_text().replace("data_sets: []", f"data_sets: [{row}]"))
    with prefect.used_here() as client:
        for name in ("embedded", "minio", "aws"):
            save_block(name, store)
        bucket = f"browser-{uuid.uuid4().hex[:8]}"
        store.client().create_bucket(Bucket=bucket)
        environment = {"REMOTE_SAVE": f"s3://{bucket}/pre/", "MAX_REJECTED": "1", "CACHE_CONTROL": "no-cache"}
        Deployer(folder / "prefect.yaml", None, environment).deploy()
        with prefect.worker():
            yield client


@pytest.fixture
def target(client: SyncPrefectClient, store: Store) -> Target:
    """A data set that no test had before, where the MinIO deployment delivers."""
    settings = client.read_deployment_by_name("deliver/minio").parameters["settings"]
    bucket = settings["remote_save"].split("/")[2]
    return Target(store, bucket, dataset=f"set-{uuid.uuid4().hex[:6]}")


@pytest.fixture(scope="module")
def browser_page(prefect: Prefect, client: SyncPrefectClient) -> Iterator[Page]:
    """After the deployments: beside Playwright's loop, Prefect would do its part asynchronously."""
    with sync_playwright() as playwright:
        # Without them a program computes each frame of what a graphics card would draw.
        without_graphics = ["--disable-gpu", "--disable-software-rasterizer"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *without_graphics])
        yield browser.new_page(base_url=prefect.url, viewport={"width": 1200, "height": 900})
        browser.close()


@pytest.fixture
def page(browser_page: Page) -> Page:
    browser_page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    return browser_page


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for number in range(8):
        draw(folder / f"picture {number}.jpg", seed=number)
    for name in ("<img src=x>.jpg", "no_picture.jpg"):
        (folder / name).write_bytes(b"no picture")
    return folder


def keep_picture(page: Page, name: str) -> None:
    """For the documentation: where SCREENSHOTS names a folder."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.wait_for_timeout(1500)
        page.screenshot(path=Path(folder) / f"{name}.png")


def open_form(page: Page, client: SyncPrefectClient, deployment: str, ui: str = "/v2") -> None:
    page.goto(f"{ui}/deployments/deployment/{client.read_deployment_by_name(deployment).id}/run")
    expect(page.get_by_role("button", name="Submit")).to_be_visible()


def field(page: Page, name: str) -> Locator:
    return page.get_by_label(re.compile(rf"^{name}( \(Optional\))?$"))


def submit(page: Page, client: SyncPrefectClient, deployment: str, *switches: str, **fields: str) -> FlowRun:
    """Fills in V2's form of a deployment as a person would, and gives the run that came of it."""
    of_this_one = DeploymentFilter(id=DeploymentFilterId(any_=[client.read_deployment_by_name(deployment).id]))
    before = {run.id for run in client.read_flow_runs(deployment_filter=of_this_one)}
    open_form(page, client, deployment)
    button = page.get_by_role("button", name="Submit")
    deadline, clicked = time.monotonic() + 120, -math.inf
    while not (begun := [run for run in client.read_flow_runs(deployment_filter=of_this_one) if run.id not in before]):
        assert time.monotonic() < deadline, page.inner_text("body")
        # A click before the form has its values does nothing in V2, and a person clicks again.
        if time.monotonic() - clicked > 10 and button.is_visible():
            for name, value in fields.items():
                field(page, name).fill(value)
            for switch in switches if clicked < 0 else ():
                field(page, switch).click()
            # What is typed reaches the form's values a moment later.
            page.wait_for_timeout(500)
            button.click()
            clicked = time.monotonic()
        page.wait_for_timeout(200)
    return begun[0]


def deliver(page: Page, client: SyncPrefectClient, target: Target, source: Path, *switches: str) -> FlowRun:
    """By the MinIO deployment."""
    return submit(page, client, "deliver/minio", *switches, dataset=target.dataset, source=str(source))


def end_of(run: FlowRun, page: Page, client: SyncPrefectClient, seconds: float = 120) -> FlowRun:
    """With no page open: a run's draws without a pause as long as the run goes on."""
    page.goto("about:blank")
    return wait_for_end(client, run.id, seconds)


def wait_or_reload(page: Page, what: Locator) -> None:
    """As a person does who sees nothing move for half a minute."""
    for _ in range(3):
        with suppress(TimeoutError):
            what.wait_for(timeout=30_000)
            return
        page.reload()
    what.wait_for(timeout=30_000)


def choose_in_menu(page: Page, item: str) -> None:
    """In the menu of a run."""
    page.locator("button[aria-haspopup='menu']").first.click()
    page.get_by_role("menuitem", name=item).click()


def test_a_schedule_that_a_person_switches_on_keeps_its_data_set(page: Page, client: SyncPrefectClient) -> None:
    """It fires within a minute, and a later test looks; each more minute would be one more delivery."""
    deployment = client.read_deployment_by_name(f"deliver/{SCHEDULED}")
    page.goto(f"/v2/deployments/deployment/{deployment.id}")
    switch = page.get_by_role("switch", name=re.compile("^toggle"))
    switch.click()
    deadline = time.monotonic() + 90
    while not (after := client.read_deployment(deployment.id)).schedules[0].active:
        assert time.monotonic() < deadline
        page.wait_for_timeout(2000)
        if not switch.is_checked():  # On a busy machine a page may be drawn again under the click.
            switch.click()
    assert after.parameters == deployment.parameters


@pytest.mark.parametrize("ui", ["/v2", ""])
def test_the_form_has_the_store_chosen_and_fields_for_what_is_changed_often(
    ui: str, page: Page, client: SyncPrefectClient
) -> None:
    open_form(page, client, "deliver/minio", ui)
    chosen = page.locator("button").filter(has_text="minio") if ui else page.locator(".block-documents-select")
    expect(chosen).to_contain_text("minio")
    keep_picture(page, "form" if ui else "form-v1")
    text = page.inner_text("body")
    words = ["dataset", "source", "store", "rerun", "dry_run", "REMOTE_SAVE"]
    places = [text.index(f"\n{word}") for word in words]
    assert places == sorted(places)
    assert len(re.findall(r"^[A-Z][A-Z_]+[A-Z](?: \(Optional\))?$", text, re.M)) == len(SHOWN)
    assert "type / None" not in text


def test_the_form_of_a_verification_asks_only_where_the_data_set_lies(page: Page, client: SyncPrefectClient) -> None:
    open_form(page, client, "verify/minio")
    expect(field(page, "dataset")).to_be_visible()
    flags = re.findall(r"^[A-Z][A-Z_]+[A-Z](?: \(Optional\))?$", page.inner_text("body"), re.M)
    assert flags == ["REMOTE_SAVE (Optional)"]


@pytest.fixture
def list_in_a_second_store(
    client: SyncPrefectClient, store: Store, identities: dict[str, AccessKey], bucket: str, source: Path
) -> Path:
    """A list of the source's pictures, which lie in a store whose block has other keys."""
    second = replace(store, credentials=identities["next"])
    with ThreadPoolExecutor(1) as thread:  # Playwright's loop runs in this one.
        thread.submit(copy_context().run, save_block, "second", second).result()
    for file in source.iterdir():
        second.client().upload_file(str(file), bucket, file.name)
    rows = source.with_name("pictures.txt")
    rows.write_text("".join(f"s3://{bucket}/{file.name}\n" for file in source.iterdir()))
    return rows


def test_a_person_submits_watches_and_opens_what_the_run_left(
    page: Page, client: SyncPrefectClient, target: Target, list_in_a_second_store: Path, bucket: str
) -> None:
    fields = {"dataset": target.dataset, "source": str(list_in_a_second_store), "source_store": "second"}
    run = submit(page, client, "deliver/minio", **fields)
    page.goto(f"/v2/runs/flow-run/{run.id}")
    # Nothing of the run was there when its page was opened. V2 mostly brings the log up to date by itself.
    wait_or_reload(page, page.get_by_text(re.compile("Listing|Reading annotations|10 images")).first)
    ended = end_of(run, page, client)
    page.goto(f"/v2/runs/flow-run/{run.id}")
    page.get_by_role("tab", name="Task Runs").click()
    page.get_by_text("Publication").first.wait_for()
    keep_picture(page, "run")
    deployed = client.read_deployment_by_name("deliver/minio").parameters["settings"]
    assert ended.parameters["settings"] == deployed, "V2 sends on what it does not show."
    assert ended.name == f"deliver {target.dataset}"
    found = artifacts_of(client, run.id)
    page.goto(f"/v2/artifacts/artifact/{found['summary'].id}")
    page.get_by_text("10 images: 8 delivered, 0 unchanged, 2 rejected, 0 failed").first.wait_for()
    keep_picture(page, "summary")
    for ui in ("/v2", ""):
        page.goto(f"{ui}/artifacts/artifact/{found['problems'].id}")
        for name in ("no_picture.jpg", "<img src=x>.jpg"):
            page.get_by_text(f"{bucket}/{name}", exact=True).first.wait_for()
        assert "\\" not in page.inner_text("body")
        assert not page.locator("img[src='x']").count()
        keep_picture(page, f"problems{'' if ui else '-v1'}")
    page.goto(f"/v2/artifacts/artifact/{found['contact-sheet'].id}")
    picture = page.locator("img[alt='contact sheet']")
    picture.wait_for()
    keep_picture(page, "contact-sheet")
    assert picture.evaluate("image => image.naturalWidth") > 100
    assert target.head(f"images/{bucket}/picture 0.jpg")["CacheControl"] == "no-cache"


def test_the_schedule_that_was_switched_on_has_delivered_its_data_set(client: SyncPrefectClient) -> None:
    of_this_one = DeploymentFilter(name=DeploymentFilterName(any_=[SCHEDULED]))
    deadline = time.monotonic() + 120
    while True:
        runs = client.read_flow_runs(deployment_filter=of_this_one)
        done = [run for run in runs if run.state and run.state.is_final()]
        if done or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    client.delete_deployment(client.read_deployment_by_name(f"deliver/{SCHEDULED}").id)
    assert done[0].auto_scheduled
    assert f"{SCHEDULED}: 2 images" in ((done[0].state and done[0].state.message) or "")


def test_many_data_sets_and_a_verification_from_their_forms(
    page: Page, client: SyncPrefectClient, target: Target, source: Path
) -> None:
    target.deliver(source, settings={"max_rejected": 1})
    catalog = source.with_name("catalog.csv")
    catalog.write_text(f"dataset,source\nmany-{target.dataset},{source}\n")
    many = submit(page, client, "deliver-many/minio", catalog=str(catalog))
    verified = submit(page, client, "verify/minio", dataset=target.dataset)
    ended = end_of(verified, page, client)
    assert ended.state
    assert "16 proven, 0 missing" in (ended.state.message or "")
    ended = end_of(many, page, client)
    assert ended.state
    assert ended.state.message == "1 data set: 1 completed, 0 not"
    page.goto(f"/v2/runs/flow-run/{many.id}")
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("1 data set").first.wait_for()


def test_a_wrong_value_is_refused_by_the_form(page: Page, client: SyncPrefectClient) -> None:
    before = len(client.read_flow_runs())
    open_form(page, client, "deliver/minio")
    field(page, "dataset").fill("../elsewhere")
    field(page, "source").fill("/anywhere")
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Submit").click()
    page.get_by_text(re.compile("does not match|Validation failed")).first.wait_for()
    assert len([run for run in client.read_flow_runs() if not run.auto_scheduled]) <= before


def test_a_person_accepts_a_plan(page: Page, client: SyncPrefectClient, target: Target, source: Path) -> None:
    run = deliver(page, client, target, source, "approve")
    wait_for(client, run.id, lambda found: found.state_name == "Suspended", 120)
    assert not target.listed("images/")
    for attempt in range(4):
        # A click before the dialog has its values does nothing in V2, and a person clicks again.
        page.goto(f"/v2/runs/flow-run/{run.id}")
        choose_in_menu(page, "Resume")
        page.get_by_role("dialog").get_by_text("10 images, 10 of them to send").first.wait_for()
        if not attempt:
            keep_picture(page, "approve")
        page.wait_for_timeout(1000)
        page.get_by_role("dialog").get_by_role("button", name="Resume").click()
        with suppress(AssertionError):
            wait_for(client, run.id, lambda found: found.state_name != "Suspended", 5)
            break
    ended = end_of(run, page, client)
    assert ended.state
    assert "8 delivered" in (ended.state.message or "")


def test_a_person_cancels_a_run(page: Page, client: SyncPrefectClient, target: Target, source: Path) -> None:
    picture = draw(source / "large.jpg", size=(3000, 2000))
    for number in range(400):
        (source / f"copy {number}.jpg").write_bytes(picture + bytes(str(number), "ascii"))
    run = deliver(page, client, target, source)
    wait_for(client, run.id, lambda found: found.state.is_running())
    page.goto(f"/v2/runs/flow-run/{run.id}")
    choose_in_menu(page, "Cancel")
    page.get_by_role("button", name="Cancel Flow Run").click()
    ended = end_of(run, page, client, 60)
    assert ended.state_name == "Cancelled"


def test_a_block_that_a_person_saves_unchanged_keeps_its_keys(
    page: Page, client: SyncPrefectClient, store: Store
) -> None:
    for name, kind in (("aws", "imagehaul-object-store"), ("aws-keys", "imagehaul-credentials")):
        block = client.read_block_document_by_name(name, kind, include_secrets=False)
        page.goto(f"/v2/blocks/block/{block.id}/edit")
        expect(page.get_by_role("button", name="Save")).to_be_visible()
        page.wait_for_timeout(1000)
        keep_picture(page, f"block-{kind}")
        save = page.get_by_role("button", name="Save")
        deadline = time.monotonic() + 60
        while client.read_block_document(block.id).updated == block.updated:
            assert time.monotonic() < deadline, f"{name} was not saved; the page: {page.inner_text('body')[-600:]}"
            # A click before the form has its values does nothing in V2.
            if save.is_visible():
                save.click()
            page.wait_for_timeout(3000)
    # Playwright runs an event loop in this thread, where Prefect's `load` would be a coroutine.
    with ThreadPoolExecutor(1) as thread:
        loaded = thread.submit(copy_context().run, load_store, "aws").result()
    assert loaded.keys() == store.keys()
