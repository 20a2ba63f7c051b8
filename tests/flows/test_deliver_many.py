"""Many data sets through one deployment: from a list or a catalog, and what is said where one fails."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import PrefectHTTPStatusError

from imagehaul.errors import SettingsError
from imagehaul.flows.deliver_many import _asked, _data_sets, _deployment, deliver_many
from imagehaul.flows.deploy import Deployer
from imagehaul.flows.parameters import merged
from imagehaul.store.endpoint import Store
from tests.support.delivering import Target, draw
from tests.support.prefect_runs import DEPLOYMENTS, Prefect, run_here, save_block

pytestmark = pytest.mark.prefect


@pytest.fixture(scope="module")
def many_bucket(store: Store) -> str:
    name = f"many-{uuid.uuid4().hex[:8]}"
    store.client().create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="module")
def client(prefect: Prefect, store: Store, many_bucket: str) -> Iterator[SyncPrefectClient]:
    with prefect.used_here() as client:
        save_block("minio", store)
        Deployer(DEPLOYMENTS, None, {"REMOTE_SAVE": f"s3://{many_bucket}/"}).deploy(["minio"])
        with deliveries_done_here(client):
            yield client


@contextmanager
def deliveries_done_here(client: SyncPrefectClient) -> Iterator[None]:
    """What a worker does for the runs of `deliver/minio`, in a thread: it takes seconds to start a process for each.

    In `test_browser.py` a worker does it.
    """
    deployment = client.read_deployment_by_name("deliver/minio")
    of_it = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
    waiting = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])))
    ended = threading.Event()

    def work() -> None:
        with get_client(sync_client=True) as own:
            while not ended.wait(0.3):
                for run in own.read_flow_runs(deployment_filter=of_it, flow_run_filter=waiting):
                    run_here(own, run)

    thread = threading.Thread(target=copy_context().run, args=(work,))
    thread.start()
    yield
    ended.set()
    thread.join()


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    """Two data sets, by names that no test had before."""
    found = {}
    for count in (2, 3):
        name = f"set-{uuid.uuid4().hex[:6]}"
        for number in range(count):
            draw(tmp_path / name / f"{number}.jpg", size=(640, 480), seed=number)
        found[name] = tmp_path / name
    return found


def run(client: SyncPrefectClient, **parameters: Any) -> FlowRun:
    deployment = client.read_deployment_by_name("deliver-many/minio")
    return run_here(client, client.create_flow_run_from_deployment(deployment.id, parameters=parameters))


def here(client: SyncPrefectClient, **parameters: Any) -> FlowRun:
    """Without the deployment."""
    state = deliver_many(**parameters, return_state=True)
    assert state.state_details.flow_run_id
    return client.read_flow_run(state.state_details.flow_run_id)


def table(client: SyncPrefectClient, of: FlowRun) -> str:
    found = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[of.id])))
    return str(next(item.data for item in found if item.key == "deliver-many"))


def said(images: int, delivered: int, unchanged: int) -> str:
    """As it stands in the table, whose signs are escaped."""
    return rf"{images} images\: {delivered} delivered\, {unchanged} unchanged"


def test_a_list_through_the_deployment_and_then_a_catalog_that_sets_what_differs_and_names_one_that_fails(
    client: SyncPrefectClient, sources: dict[str, Path], store: Store, many_bucket: str, tmp_path: Path
) -> None:
    """One that fails fails the whole, and the others are delivered."""
    (first, one), (second, two) = sources.items()
    ended = run(client, datasets=[{"dataset": name, "source": str(folder)} for name, folder in sources.items()])
    assert ended.state
    assert ended.state.message == "2 data sets: 2 completed, 0 not"
    for name, count in ((first, 2), (second, 3)):
        assert said(count, delivered=count, unchanged=0) in table(client, ended)
        assert len(Target(store, many_bucket, "", name).listed("images/")) == count

    catalog = tmp_path / "catalog.csv"
    catalog.write_text(f"dataset,source,THUMBNAIL_SIZE\ngone,{tmp_path / 'gone'},\n{first},{one},\n{second},{two},64\n")
    ended = here(client, catalog=str(catalog), at_once=1)
    assert ended.state
    assert ended.state_name == "Failed"
    assert ended.state.message == "3 data sets: 2 completed, 1 not: gone"
    widths = [Target(store, many_bucket, "", name).open("thumbnails/0.jpg.jpg").width for name in (first, second)]
    assert widths == [256, 64]
    assert said(2, delivered=0, unchanged=2) in table(client, ended)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("dataset,source\na,/x\na,/y\n", "a: named more than once"),
        ("dataset\na\n", "no column source"),
        ("dataset,source,colour\na,/x,red\n", "a column 'colour', which is no setting"),
        ("dataset,source,object_store_url\na,/x,http://y\n", "a column 'object_store_url'"),
        ("dataset,source,thumbnail_size\na,/x,huge\n", "a: THUMBNAIL_SIZE"),
        ("dataset,source,THUMBNAIL_SIZE,thumbnail_size\na,/x,64,32\n", "has two columns thumbnail_size"),
        ("dataset,source\n../a,/x\n", "'../a' is no name for a data set"),
        ("dataset,source\na,/x\nb,/y/Smith, J\n", "catalog.csv, line 3: 3 cells, and the header has 2."),
        ("dataset,source\n", "There is no data set to deliver"),
    ],
)
def test_a_catalog_that_is_wrong_is_refused(
    content: str, words: str, client: SyncPrefectClient, tmp_path: Path
) -> None:
    catalog = tmp_path / "catalog.csv"
    catalog.write_text(content)
    with pytest.raises(SettingsError, match=re.escape(words)):
        _asked((), str(catalog), _deployment(client, "deliver/minio"), "changed")


def test_a_setting_that_is_given_twice_is_refused_by_both_names_unless_it_is_the_same() -> None:
    merged({"thumbnail_size": 1}, {"THUMBNAIL_SIZE": 64, "thumbnail_size": 64})
    assert merged({"THUMBNAIL_SIZE": 1, "workers": 2}, {"thumbnail_size": 3}) == {"thumbnail_size": 3, "workers": 2}
    with pytest.raises(SettingsError, match="have THUMBNAIL_SIZE=64 and thumbnail_size=32, which are one"):
        merged({}, {"THUMBNAIL_SIZE": 64, "thumbnail_size": 32})


def test_a_field_of_a_data_set_that_is_not_known_is_refused_by_the_form_and_by_the_flow(
    client: SyncPrefectClient,
) -> None:
    wrong = {"dataset": "a", "source": "/x", "settings": {"thumbnail_size": 32}, "anotations": "/y"}
    with pytest.raises(PrefectHTTPStatusError, match=r"'anotations', 'settings' were unexpected"):
        run(client, datasets=[wrong])
    ended = here(client, datasets=[wrong])
    assert ended.state
    assert ended.state_name == "Failed"
    assert "a: a data set of the list has no anotations, settings. It has dataset, source" in ended.state.message


def test_a_quoted_comma_is_of_its_cell_and_spaces_after_commas_and_empty_cells_beyond_the_header_say_nothing(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    catalog = tmp_path / "catalog.csv"
    catalog.write_text('dataset, source, annotations\na, "/x/Smith, J", \nb, /y,,\n')
    asked = _asked((), str(catalog), _deployment(client, "deliver/minio"), "changed")
    assert [(row["dataset"], row["source"], row["annotations"]) for row in asked] == [
        ("a", "/x/Smith, J", ""),
        ("b", "/y", ""),
    ]


def test_what_is_refused_fails_the_run_with_its_words_before_anything_is_delivered(client: SyncPrefectClient) -> None:
    ended = here(client, datasets=[{"dataset": "a", "source": "/x"}, {"dataset": "a", "source": "/y"}])
    assert ended.state
    assert ended.state_name == "Failed"
    assert "a: named more than once" in (ended.state.message or "")


def test_a_deployment_of_another_flow_is_refused_before_anything_is_begun(client: SyncPrefectClient) -> None:
    ended = here(client, datasets=[{"dataset": "a", "source": "/x"}], deployment="verify/minio")
    assert ended.state
    assert ended.state_name == "Failed"
    assert "'verify/minio' takes no source, rerun: it delivers no data set" in (ended.state.message or "")


def test_data_sets_are_counted_in_words() -> None:
    assert [_data_sets(count) for count in (1, 2, 1000)] == ["1 data set", "2 data sets", "1,000 data sets"]
