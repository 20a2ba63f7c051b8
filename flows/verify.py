"""The Prefect flow that looks whether the store still holds what was published, and may mend it."""

from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State

from imagehaul.delivery.repair import verify_and_repair
from imagehaul.delivery.verification import Verification
from imagehaul.errors import HaulError
from imagehaul.flows.artifacts import artifact_key
from imagehaul.flows.batch_tasks import as_tasks
from imagehaul.flows.final_state import completed, failed
from imagehaul.flows.flow_progress import progress_of_run
from imagehaul.flows.parameters import DatasetName, StoreBlock, WhereForm, settings_of_run
from imagehaul.flows.places import refuse_lost
from imagehaul.flows.prefect_server import not_in_the_way
from imagehaul.flows.run_labels import named, tag_run
from imagehaul.markdown import cell, table
from imagehaul.progress import human_bytes
from imagehaul.records import locations


@flow(name="verify", flow_run_name=named("verify", "dataset"))
def verify(
    dataset: DatasetName,
    store: StoreBlock,
    content: bool = False,
    repair_from: str = "",
    annotations: str | list[str] = "",
    source_name: str = "",
    source_store: str = "",
    *,
    settings: WhereForm,
) -> State[Any]:
    """Compares the published ledger of a data set with what the store holds now.

    Args:
        dataset: Name of the data set, and of its folder under REMOTE_SAVE.
        store: The object store. It alone decides URL, region, keys and CA.
        content: Reads every byte back and compares SHA-256.
        repair_from: A folder or s3://bucket/prefix, to send again what is missing or changed. Empty: only looks.
        annotations: For a repair: a file, a folder or an s3:// URI, or several. Empty: beside the images.
        source_name: The one source of the data set to look at, and to repair. Empty: all, and the main one.
        source_store: Name of the object store block that the source lies in. Empty: the target's store.
        settings: Where the data set lies. What is left out is as the deployment has it.
    """
    tag_run(dataset)
    try:
        refuse_lost(repair_from, *locations(annotations))
        found, _ = verify_and_repair(
            dataset,
            settings_of_run(settings),
            store.to_store(),
            progress_of_run(dataset),
            as_tasks(dataset),
            content,
            repair_from,
            locations(annotations),
            source_name=source_name.strip(),
            source_store=source_store.strip(),
        )
    except HaulError as error:
        return failed(error)
    with not_in_the_way("artifacts of this run are missing"):
        _show(found)
    return failed(HaulError(found.headline)) if found.exit_status else completed(found.headline, found)


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
        rows = [(item.problem, item.kind, cell(item.key), cell(item.message)) for item in found.examples]
        create_markdown_artifact(
            markdown=table(("problem", "kind", "key", "message"), rows),
            key=artifact_key("findings", found.dataset),
            description="The first of each problem.",
        )
