"""What an earlier version left on the server: renewed where that is safe, named where a person must decide."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import (
    BlockDocumentFilter,
    BlockDocumentFilterBlockTypeId,
    FlowFilter,
    FlowFilterName,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import DeploymentSort
from prefect.exceptions import ObjectNotFound

from imagehaul.blocks import ObjectStore
from imagehaul.flows.deployment_file import is_of_data_set
from imagehaul.flows.prefect_server import all_of
from imagehaul.settings import Settings

FLOWS = ("deliver", "verify", "deliver-many")
_OLD_ENTRYPOINT = re.compile(r"flows\.(deliver|verify|deliver_many)\.(deliver|verify|deliver_many)")


def renew_blocks(client: SyncPrefectClient) -> list[str]:
    """Store blocks that hold their credentials as a block: stored by name from now on, since the V2 UI loses them."""
    kind = client.read_block_type_by_slug(ObjectStore.get_block_type_slug())
    stores = BlockDocumentFilter(block_type_id=BlockDocumentFilterBlockTypeId(any_=[kind.id])).model_dump(mode="json")

    def read(limit: int, offset: int) -> list[dict[str, Any]]:
        asked = {"block_documents": stores, "limit": limit, "offset": offset}
        found: list[dict[str, Any]] = client.request("POST", "/block_documents/filter", json=asked).json()
        return found

    said = []
    for document in all_of(read):
        if "credentials" in document["block_document_references"]:
            block = ObjectStore.load(document["name"], _sync=True)  # type: ignore[call-arg]
            assert isinstance(block, ObjectStore)
            block.save(document["name"], overwrite=True)
            said.append(f"The block {document['name']!r} now names its credentials, {block.credentials!r}, as text.")
    return said


def renew_deployments(client: SyncPrefectClient, made: Set[str], listed: Set[str]) -> list[str]:
    """Deployments of our flows that `made` does not name: moved to the new entrypoint, and what else is wrong said.

    `listed`: those that the file has, made or not.
    """
    said = []
    for flow in client.read_flows(flow_filter=FlowFilter(name=FlowFilterName(any_=list(FLOWS)))):
        for deployment in _deployments(client, flow.name):
            name = f"{flow.name}/{deployment.name}"
            if name in made:
                continue
            if _OLD_ENTRYPOINT.fullmatch(deployment.entrypoint or ""):
                entrypoint = f"imagehaul.{deployment.entrypoint}"
                client.update_deployment(deployment.id, DeploymentUpdate(entrypoint=entrypoint))
                said.append(f"{name} now names its flow as {entrypoint}.")
            said += [f"{name} {problem}" for problem in _problems(client, deployment)]
            if name not in listed and _goes_on(deployment):
                said.append(
                    f"{name} is of a data set that the file does not have under data_sets, and its schedule is on. "
                    "Delete it, or switch its schedule off, unless another file has it."
                )
    return said


def _deployments(client: SyncPrefectClient, flow: str) -> Iterator[DeploymentResponse]:
    """All of them: with one for each data set there are more than the server gives at once."""
    of_it = FlowFilter(name=FlowFilterName(any_=[flow]))
    return all_of(
        lambda limit, offset: client.read_deployments(
            flow_filter=of_it, sort=DeploymentSort.NAME_ASC, limit=limit, offset=offset
        )
    )


def _problems(client: SyncPrefectClient, deployment: DeploymentResponse) -> Iterator[str]:
    again = "Deploy it again with imagehaul deploy, or delete it."
    for parameter, reference in _references(deployment.parameters):
        try:
            client.read_block_document(reference)
        except ObjectNotFound:
            yield f"names a block for {parameter} that was deleted, also where another one has its name now. {again}"
    settings = deployment.parameters.get("settings")
    missing = Settings.model_fields.keys() - {"object_store_url"} - (settings or {}).keys()
    if deployment.work_pool_name and settings is not None and missing:
        yield f"is out of date: it lacks settings, such as {min(missing).upper()}. {again}"
    for schedule in deployment.schedules:
        if schedule.parameters:
            yield (
                f"has a schedule with parameters ({schedule.slug or schedule.id}), which Prefect empties when it is "
                "switched on. Give the data set a deployment of its own, under data_sets in prefect.yaml."
            )


def _goes_on(deployment: DeploymentResponse) -> bool:
    """Whether `data_sets` made it, and runs of it are begun."""
    is_on = not deployment.paused and any(schedule.active for schedule in deployment.schedules)
    return is_on and is_of_data_set(deployment.tags, deployment.parameters)


def _references(parameters: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in parameters.items():
        reference = value.get("$ref") if isinstance(value, dict) else None
        if isinstance(reference, dict) and reference.get("block_document_id"):
            yield name, reference["block_document_id"]
