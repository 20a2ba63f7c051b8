"""Many data sets through one deployment, a few at a time: a backfill."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from pydantic import BaseModel, ConfigDict, Field

from imagehaul.errors import HaulError, SettingsError
from imagehaul.flows.catalog_file import COLUMNS, read_catalog
from imagehaul.flows.final_state import completed, failed
from imagehaul.flows.many_runs import run_all
from imagehaul.flows.parameters import DatasetName, Source, SourceName, form_of, merged
from imagehaul.flows.places import refuse_lost
from imagehaul.flows.prefect_server import not_in_the_way
from imagehaul.flows.run_labels import named
from imagehaul.layout import MAIN_SOURCE
from imagehaul.markdown import cell, table
from imagehaul.records import Rerun
from imagehaul.settings_loading import settings_of_form


class DataSet(BaseModel):
    """One data set to deliver."""

    # The form refuses a field that is not known. What reaches the flow all the same is refused there, in our own words.
    model_config = ConfigDict(extra="allow", json_schema_extra={"additionalProperties": False})

    dataset: DatasetName
    source: Source = Field(description="A folder that the worker sees, or s3://bucket/prefix.")
    annotations: str = Field(default="", description="A file, a folder or an s3:// URI. Empty: beside the images.")
    source_name: SourceName = Field(default=MAIN_SOURCE, description="Which source of the data set it is.")


@flow(name="deliver-many", flow_run_name=named("deliver many through", "deployment"))
def deliver_many(
    datasets: list[DataSet] = [],  # noqa: B006 - the form shows it, and nobody changes it
    catalog: str = "",
    deployment: str = "deliver/minio",
    at_once: Annotated[int, Field(ge=1, le=100)] = 2,
    rerun: Rerun = "changed",
) -> State[Any]:
    """Delivers many data sets, a few at a time, through a deployment of the delivery.

    Args:
        datasets: The data sets.
        catalog: A CSV file on the worker, with the columns dataset, source, annotations, source_name, and settings.
        deployment: Through which they are delivered: its store and its settings.
        at_once: So many run at the same time; the deployment's own limit holds besides.
        rerun: changed: what is new, changed or missing. failed: what failed before. all: everything.
    """
    try:
        refuse_lost(catalog)
        with get_client(sync_client=True) as client:
            through = _deployment(client, deployment)
            asked = _asked(datasets, catalog, through, rerun)
            runs = run_all(client, through.id, asked, at_once)
    except HaulError as error:
        return failed(error)
    with not_in_the_way("the table of its data sets is missing"):
        _show(asked, runs)
    bad = [asked[place]["dataset"] for place, run in enumerate(runs) if run.state_name != "Completed"]
    said = f"{_data_sets(len(runs))}: {len(runs) - len(bad):,} completed, {len(bad):,} not"
    if bad:
        return failed(HaulError(f"{said}: {', '.join(bad[:10])}{' …' if len(bad) > 10 else ''}"))
    return completed(said)


def _deployment(client: SyncPrefectClient, name: str) -> DeploymentResponse:
    try:
        found = client.read_deployment_by_name(name)
    except (ObjectNotFound, ValueError):
        raise SettingsError(f"There is no deployment {name!r}. Make it with imagehaul deploy.") from None
    takes = (found.parameter_openapi_schema or {}).get("properties", {})
    if lacking := [parameter for parameter in (*COLUMNS, "settings", "rerun") if parameter not in takes]:
        raise SettingsError(
            f"The deployment {name!r} takes no {', '.join(lacking)}: it delivers no data set. Name one of the flow "
            "deliver, such as deliver/minio."
        )
    return found


def _asked(
    datasets: Sequence[DataSet], catalog: str, through: DeploymentResponse, rerun: Rerun
) -> list[dict[str, Any]]:
    """The parameters of each run. Raises `SettingsError` before any of them begins."""
    for dataset in datasets:
        if dataset.model_extra:
            raise SettingsError(
                f"{dataset.dataset}: a data set of the list has no {', '.join(sorted(dataset.model_extra))}. It has "
                f"{', '.join(COLUMNS)}; settings of its own can stand in a catalog, and rerun holds for all of them."
            )
    rows = [dataset.model_dump() for dataset in datasets] + (read_catalog(Path(catalog)) if catalog else [])
    if not rows:
        raise SettingsError("There is no data set to deliver: name some, or a catalog.")
    rows = [{"source_name": MAIN_SOURCE, "annotations": "", **row} for row in rows]
    named = Counter((row.get("dataset", ""), row["source_name"]) for row in rows)
    if twice := {dataset for (dataset, _), rows_of_it in named.items() if rows_of_it > 1}:
        raise SettingsError(
            f"{', '.join(sorted(twice))}: named more than once. Give each source of a data set a source_name."
        )
    asked = []
    for row in rows:
        own = row.get("settings", {})
        try:
            DataSet(**{name: row.get(name, "") for name in COLUMNS})
            settings = form_of(settings_of_form(merged(through.parameters.get("settings"), own)))
        except ValueError:
            raise SettingsError(
                f"{row.get('dataset', '')!r} is no name for a data set, or {row['source_name']!r} none for a source, "
                "or its source is empty."
            ) from None
        except SettingsError as error:
            raise SettingsError(f"{row['dataset']}: {error}") from None
        asked.append({name: row.get(name, "") for name in COLUMNS} | {"settings": settings, "rerun": rerun})
    return asked


def _show(asked: Sequence[dict[str, Any]], runs: Sequence[FlowRun]) -> None:
    rows = [
        (
            cell(parameters["dataset"]),
            run.state_name or "",
            f"{run.total_run_time.total_seconds():.1f}",
            cell((run.state and run.state.message) or ""),
        )
        for parameters, run in zip(asked, runs, strict=True)
    ]
    create_markdown_artifact(
        markdown=table(("data set", "state", "seconds", "outcome"), rows),
        key="deliver-many",
        description=_data_sets(len(runs)),
    )


def _data_sets(count: int) -> str:
    return f"{count:,} data set{'' if count == 1 else 's'}"
