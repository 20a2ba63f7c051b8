"""What a person does in the Prefect UI, in a real browser: Debian's chromium, without a window."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from imagehaul.flows.deploy import Deployer
from imagehaul.store.endpoint import Store
from tests.support.delivering import Target, draw
from tests.support.prefect_runs import DEPLOYMENTS, Prefect, artifacts_of, save_block, wait_for, wait_for_end

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
STORES = ("embedded", "minio", "aws")
pytestmark = [
    pytest.mark.prefect,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def client(prefect: Prefect, store: Store) -> Iterator[SyncPrefectClient]:
    with prefect.used_here() as client:
        for name in STORES:
            save_block(name, store)
        bucket = f"browser-{uuid.uuid4().hex[:8]}"
        store.client().create_bucket(Bucket=bucket)
        Deployer(DEPLOYMENTS, None, {"REMOTE_SAVE": f"s3://{bucket}/pre/", "MAX_REJECTED": "1"}).deploy()
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
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page(base_url=prefect.url, viewport={"width": 1200, "height": 900})
        browser.close()


@pytest.fixture
def page(browser_page: Page) -> Page:
    browser_page.set_default_timeout(30_000)
    return browser_page


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for number in range(8):
        draw(folder / f"picture {number}.jpg", seed=number)
    (folder / "<img src=x>.jpg").write_bytes(b"no picture")
    return folder


def keep_picture(page: Page, name: str) -> None:
    """For the documentation: where SCREENSHOTS names a folder."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def open_form(page: Page, client: SyncPrefectClient, deployment: str) -> None:
    page.goto(f"/deployments/deployment/{client.read_deployment_by_name(deployment).id}/run")
    expect(page.get_by_role("button", name="Submit")).to_be_visible()


def field(page: Page, name: str, kind: str = "textarea") -> Locator:
    return page.get_by_text(name, exact=True).locator(f"xpath=following::{kind}[1]")


def submit(page: Page, client: SyncPrefectClient, target: Target, source: Path, *switches: str) -> FlowRun:
    """Fills in the form of the MinIO deployment as a person would, and gives the run that came of it."""
    before = {run.id for run in client.read_flow_runs()}
    open_form(page, client, "deliver/minio")
    field(page, "dataset").fill(target.dataset)
    field(page, "source").fill(str(source))
    for switch in switches:
        page.get_by_text(f"{switch} (Optional)", exact=True).locator("xpath=following::*[@role='switch'][1]").click()
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(lambda url: not url.endswith("/run"))
    [run] = [run for run in client.read_flow_runs() if run.id not in before]
    page.goto(f"/runs/flow-run/{run.id}")
    return run


@pytest.mark.parametrize("store_name", STORES)
def test_the_form_shows_the_block_that_was_chosen(store_name: str, page: Page, client: SyncPrefectClient) -> None:
    open_form(page, client, f"deliver/{store_name}")
    expect(page.locator(".block-documents-select")).to_have_text(store_name)
    keep_picture(page, f"form-{store_name}")
    assert "type / None" not in page.inner_text("body")
    assert "is type None" not in page.inner_text("body")


def test_the_settings_come_last_in_their_order_each_with_its_sentence(page: Page, client: SyncPrefectClient) -> None:
    open_form(page, client, "deliver/minio")
    text = page.inner_text("main" if page.locator("main").count() else "body")
    words = ["dataset", "source", "store", "rerun", "dry_run", "REMOTE_SAVE", "CDN_FULLPATH", "THUMBNAIL_SIZE"]
    places = [text.index(f"\n{word}") for word in words]
    assert places == sorted(places)
    assert "OBJECT_STORE_URL" not in text
    assert "Longest side of a thumbnail, in pixels." in text


def test_a_person_changes_the_data_set_submits_watches_and_opens_the_summary(
    page: Page, client: SyncPrefectClient, target: Target, source: Path
) -> None:
    run = submit(page, client, target, source)
    page.get_by_text("Completed").first.wait_for(timeout=90_000)
    keep_picture(page, "run")
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text(f"summary-{target.dataset}").first.wait_for()
    found = artifacts_of(client, run.id)
    page.goto(f"/artifacts/artifact/{found['summary'].id}")
    page.get_by_text("9 images: 8 delivered, 0 unchanged, 1 rejected, 0 failed").first.wait_for()
    assert "<img src=x>.jpg" in page.inner_text("body")
    page.goto(f"/artifacts/artifact/{found['contact-sheet'].id}")
    picture = page.locator("img[alt='contact sheet']")
    picture.wait_for()
    keep_picture(page, "contact-sheet")
    assert picture.evaluate("image => image.naturalWidth") > 100
    assert len(target.listed("images/")) == 8


def test_a_wrong_value_is_refused_by_the_form(page: Page, client: SyncPrefectClient) -> None:
    open_form(page, client, "deliver/minio")
    field(page, "dataset").fill("../elsewhere")
    field(page, "source").fill("/anywhere")
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("Validation failed for field 'dataset'").first.wait_for()


def test_a_person_accepts_a_plan(page: Page, client: SyncPrefectClient, target: Target, source: Path) -> None:
    run = submit(page, client, target, source, "approve")
    page.get_by_role("button", name="Resume").wait_for(timeout=90_000)
    assert not target.listed("images/")
    page.get_by_role("button", name="Resume").click()
    page.get_by_text("9 images, 9 of them to send").first.wait_for()
    page.get_by_role("button", name="Submit").click()
    ended = wait_for_end(client, run.id)
    assert ended.state
    assert "8 delivered" in (ended.state.message or "")


def test_a_person_cancels_a_run(page: Page, client: SyncPrefectClient, target: Target, source: Path) -> None:
    picture = draw(source / "large.jpg", size=(3000, 2000))
    for number in range(400):
        (source / f"copy {number}.jpg").write_bytes(picture + bytes(str(number), "ascii"))
    run = submit(page, client, target, source)
    wait_for(client, run.id, lambda found: found.state.is_running())
    page.get_by_role("button", name="Cancel").click(timeout=60_000)
    page.get_by_role("button", name="Confirm").click()
    ended = wait_for_end(client, run.id, 40)
    assert ended.state_name == "Cancelled"
    page.get_by_text("Cancelled").first.wait_for()
