"""The Prefect flow that looks whether the store still holds what was published, and may mend it."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from imagehaul.delivery.repair import verify_and_repair
from imagehaul.delivery.verification import Verification
from imagehaul.errors import HaulError
from imagehaul.flows.artifacts import artifact_key, cell
from imagehaul.flows.batch_tasks import as_tasks
from imagehaul.flows.flow_progress import FlowProgress
from imagehaul.flows.parameters import DatasetName, SettingsForm, StoreBlock, settings_of_form
from imagehaul.progress import human_bytes


@flow(name="verify", flow_run_name="verify {dataset}")
def verify(
    dataset: DatasetName,
    store: StoreBlock,
    content: bool = False,
    repair_from: str = "",
    annotations: str = "",
    *,
    settings: SettingsForm,
) -> State[Any]:
    """Compares the published ledger of a data set with what the store holds now.

    Args:
        dataset: Name of the data set, and of its folder under REMOTE_SAVE.
        store: The object store. It alone decides URL, region, keys and CA.
        content: Reads every byte back and compares SHA-256.
        repair_from: A folder or s3://bucket/prefix, to send again what is missing or changed. Empty: only looks.
        annotations: For a repair: a file, a folder or an s3:// URI. Empty: beside the images.
        settings: As the delivery had them.
    """
    try:
        found, _ = verify_and_repair(
            dataset,
            settings_of_form(settings),
            store.to_store(),
            FlowProgress(dataset),
            as_tasks(dataset),
            content,
            repair_from,
            annotations,
        )
    except HaulError as error:
        return Failed(message=str(error))
    _show(found)
    return Failed(message=found.headline) if found.exit_status else Completed(message=found.headline)


def _show(found: Verification) -> None:
    lines = [
        f"# {cell(found.dataset)}: verification",
        "",
        cell(found.headline) + ".",
        "",
        f"{human_bytes(found.bytes)} proven in {found.seconds:,.1f} s.",
        "",
        *(f"- {cell(warning)}" for warning in found.warnings),
    ]
    create_markdown_artifact(
        markdown="\n".join(lines), key=artifact_key("verification", found.dataset), description=found.headline
    )
    if found.examples:
        create_table_artifact(
            table=[
                {
                    "problem": finding.problem,
                    "kind": finding.kind,
                    "key": cell(finding.key),
                    "message": cell(finding.message),
                }
                for finding in found.examples
            ],
            key=artifact_key("findings", found.dataset),
            description="The first of each problem.",
        )
