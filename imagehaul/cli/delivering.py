"""The commands that deliver a data set, and look whether it still stands as it was delivered."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from imagehaul.cli.options import open_store, resolve, runs_as_flow
from imagehaul.cli.output import print_json
from imagehaul.cli.parameters import Annotations, Block, Config, Dataset, Json, SourceName
from imagehaul.cli.settings_options import Every
from imagehaul.clock import seconds_since_entry
from imagehaul.errors import SettingsError
from imagehaul.layout import MAIN_SOURCE
from imagehaul.records import Request, locations

if TYPE_CHECKING:
    from imagehaul.delivery.summary import Summary


def deliver(
    source: Annotated[
        str,
        Parameter(
            help="A folder, s3://bucket/prefix, a list (.txt .csv .tsv .parquet .jsonl), "
            "or an archive (.zip .tar .tar.gz .tar.zst)."
        ),
    ],
    /,
    *,
    dataset: Dataset,
    config: Config = None,
    annotations: Annotations = None,
    store: Block = "",
    rerun: Annotated[
        Literal["changed", "failed", "all"],
        Parameter(help="changed: what is new, changed or missing. failed: what failed before. all: everything."),
    ] = "changed",
    dry_run: Annotated[bool, Parameter(help="Shows the plan and sends nothing.", negative="")] = False,
    allow_loss: Annotated[
        bool, Parameter(help="Publishes in spite of MAX_REJECTED and MAX_VANISHED.", negative="")
    ] = False,
    when_locked: Annotated[
        Literal["wait", "refuse"], Parameter(help="What to do while another run works on the data set.")
    ] = "wait",
    source_type: Annotated[str, Parameter(help="Forces a kind of source: list, archive, prefix or folder.")] = "",
    source_store: Annotated[
        str, Parameter(help="An object store block in Prefect for the source. Not given: as the settings say.")
    ] = "",
    column: Annotated[str, Parameter(help="Which column of a list names the pictures.")] = "",
    source_name: SourceName = MAIN_SOURCE,
    prefect: Annotated[
        bool | None, Parameter(help="As a Prefect flow run, or not. Not given: where a Prefect API is configured.")
    ] = None,
    json: Json = False,
    settings: Every = None,
) -> int:
    from imagehaul.progress import shown_on

    request = Request(
        dataset=dataset, source=source, annotations=locations(annotations), rerun=rerun, dry_run=dry_run,
        allow_loss=allow_loss, when_locked=when_locked, source_type=source_type, column=column,
        source_store=source_store, source_name=source_name,
    )  # fmt: skip
    resolved, warnings = resolve(config, settings)
    as_flow = runs_as_flow(prefect, store or source_store, "--store" if store else "--source-store")
    with shown_on(sys.stderr) as progress:
        for warning in warnings:
            progress.warn(warning)
        if as_flow:
            from imagehaul.flows.deliver_here import deliver_here

            summary = deliver_here(request, resolved, open_store(resolved, store), progress)
        else:
            from imagehaul.delivery.batch_threads import in_threads
            from imagehaul.delivery.chain import deliver as run_chain

            summary = run_chain(request, resolved, open_store(resolved, ""), in_threads, progress)
    summary = replace(summary, seconds=seconds_since_entry(), warnings=(*warnings, *summary.warnings))
    return _show(summary, json)


def verify(
    *,
    dataset: Dataset,
    config: Config = None,
    store: Block = "",
    content: Annotated[bool, Parameter(help="Reads every byte back and compares SHA-256.", negative="")] = False,
    repair: Annotated[
        bool,
        Parameter(help="Sends again, from --source, what is missing or changed, by the same settings.", negative=""),
    ] = False,
    source: Annotated[str, Parameter(help="For --repair: a folder, or s3://bucket/prefix.")] = "",
    annotations: Annotated[list[str] | None, Parameter(help="For --repair: as in `deliver`.")] = None,
    source_name: Annotated[
        str, Parameter(help="The one source of the data set to look at, and to repair. Not given: all, and main.")
    ] = "",
    source_store: Annotated[
        str, Parameter(help="An object store block in Prefect for the source. Not given: as the settings say.")
    ] = "",
    findings: Annotated[
        str, Parameter(help="A file for the list of all that is missing, changed, unread or extra, as Parquet.")
    ] = "",
    json: Json = False,
    settings: Every = None,
) -> int:
    from imagehaul.delivery.batch_threads import in_threads
    from imagehaul.delivery.repair import verify_and_repair
    from imagehaul.progress import shown_on

    if repair != bool(source):
        raise SettingsError("--repair sends from a source, and --source is for --repair alone: give both or neither.")
    resolved, warnings = resolve(config, settings)
    with shown_on(sys.stderr) as progress:
        for warning in warnings:
            progress.warn(warning)
        found, _ = verify_and_repair(
            dataset,
            resolved,
            open_store(resolved, store),
            progress,
            in_threads,
            content,
            source,
            locations(annotations),
            findings,
            source_name,
            source_store,
        )
    found = replace(found, seconds=seconds_since_entry())
    if json:
        print_json(found.as_json())
    else:
        from imagehaul.cli.terminal import print_verification, standard_output

        print_verification(found, standard_output())
    return found.exit_status


def _show(summary: Summary, as_json: bool) -> int:
    if as_json:
        print_json(summary.as_json())
    else:
        from imagehaul.cli.terminal import print_summary, standard_output

        print_summary(summary, standard_output())
    return summary.exit_status
