"""The command line: a thin layer over what can also be imported. Heavy imports wait until they are needed."""

from __future__ import annotations

from imagehaul.clock import seconds_since_entry  # isort: skip - the clock starts first

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import CycloptsError, Parameter

from imagehaul.cli import publications  # noqa: F401 - its commands
from imagehaul.cli.app import SWITCHES, Annotations, Block, Config, Dataset, Every, Json, SourceName, app, print_json
from imagehaul.cli.options import open_store, require_api, resolve, runs_as_flow
from imagehaul.cli.surroundings import settle
from imagehaul.errors import HaulError, SettingsError
from imagehaul.layout import MAIN_SOURCE
from imagehaul.records import Request, locations
from imagehaul.text import printable_lines

if TYPE_CHECKING:
    from imagehaul.delivery.summary import Summary


@app.command
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
    """Delivers one data set: renders, sends, proves and exports it."""
    from imagehaul.progress import shown_on

    request = Request(dataset, source, locations(annotations), rerun, dry_run, allow_loss, when_locked)
    request = replace(request, source_type=source_type, column=column, source_store=source_store)
    request = replace(request, source_name=source_name)
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


@app.command
def verify(
    *,
    dataset: Dataset,
    config: Config = None,
    store: Block = "",
    content: Annotated[bool, Parameter(help="Reads every byte back and compares SHA-256.", negative="")] = False,
    repair: Annotated[
        bool, Parameter(help="Sends again, from --source, what is missing or changed.", negative="")
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
    """Compares the published ledger with what the store holds now."""
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
        from rich.console import Console

        from imagehaul.cli.terminal import print_verification

        print_verification(found, Console())
    return found.exit_status


@app.command
def deploy(
    *names: Annotated[str, Parameter(help="Deployments to make, such as minio. Not given: all.")],
    file: Annotated[Path, Parameter(help="Where the deployments are described.")] = Path("prefect.yaml"),
    config: Config = None,
) -> int:
    """Registers block types, makes the work pool and the deployments; may be run again."""
    require_api("deploy")
    from imagehaul.flows.deploy import Deployer

    deployer = Deployer(file, config, os.environ)
    outcomes = deployer.deploy(names)
    for warning in deployer.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    for outcome in outcomes:
        print(f"{outcome.name}: {'left out. ' if outcome.left_out else ''}{outcome.obstacle or 'deployed'}")
    return 1 if any(outcome.obstacle and not outcome.left_out for outcome in outcomes) else 0


@app.command
def automations(
    *,
    notify: Annotated[
        str,
        Parameter(
            help="A notification block of Prefect: TYPE/NAME, such as slack-webhook/team. "
            "Not given: installs only what marks runs that were lost with their worker."
        ),
    ] = "",
    rejected: Annotated[float, Parameter(help="Tells when a larger share of the images than this is rejected.")] = 0.05,
    file: Annotated[Path, Parameter(help="Where the automations are described.")] = Path("automations.yaml"),
) -> int:
    """Installs who is told of a failed delivery, or of many rejected images; may be run again."""
    require_api("install automations")
    from imagehaul.flows.automations import install

    for name in install(file, notify, rejected):
        print(name)
    return 0


@app.command
def nginx(
    *,
    config: Config = None,
    store: Block = "",
    listen: Annotated[str, Parameter(help="Port, or address and port, that nginx listens at.")] = "80",
    source: Annotated[
        str, Parameter(help="With ORIGINALS=in_place: s3://bucket/prefix, whose originals are served as well.")
    ] = "",
    address: Annotated[str, Parameter(help="This host's address as the store sees it. Not given: found out.")] = "",
    settings: Every = None,
) -> int:
    """Prints an nginx configuration that serves CDN_FULLPATH from the store."""
    from imagehaul.serving.nginx import serving

    resolved, _ = resolve(config, settings)
    print(serving(resolved, open_store(resolved, store), listen, address, source), end="")
    return 0


@app.command
def gallery(
    *,
    dataset: Dataset,
    port: Annotated[int, Parameter(help="Port on this machine. 0: a free one.")] = 0,
    config: Config = None,
    store: Block = "",
    settings: Every = None,
) -> int:
    """Serves the data set's gallery on this machine, from the store, until it is stopped."""
    from imagehaul.layout import Layout
    from imagehaul.serving.gallery import GalleryServer, current_gallery

    resolved, _ = resolve(config, settings)
    layout, target = Layout.of(resolved.remote_save, dataset), open_store(resolved, store)
    with target.explaining("read", layout.uri(layout.current)):
        current_gallery(target.client(), layout)
    with GalleryServer(target, layout, port) as server:
        print(f"The gallery of {dataset}: {server.url}\nStop it with Ctrl-C.", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


@app.command
def sample(folder: Annotated[Path, Parameter(help="A folder that is not there yet, or is empty.")], /) -> int:
    """Writes the sample data set: pictures with known boxes, and a few deliberate faults."""
    from imagehaul.local.sample import write_sample

    print(write_sample(folder))
    return 0


@app.command(name="store")
def run_store(
    folder: Annotated[Path, Parameter(help="Where the store keeps its data.")],
    /,
    *,
    port: Annotated[int, Parameter(help="Port on this machine. 0: a free one.")] = 0,
) -> int:
    """Runs the embedded object store until it is stopped; prints its URL and keys."""
    from imagehaul.local.embedded_store import serve

    serve(folder, port)
    return 0


def _show(summary: Summary, as_json: bool) -> int:
    if as_json:
        print_json(summary.as_json())
    else:
        from rich.console import Console

        from imagehaul.cli.terminal import print_summary

        print_summary(summary, Console())
    return summary.exit_status


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script. Every error that can come from outside the program ends here, as words."""
    signal.signal(signal.SIGTERM, _terminate)
    tokens = _join_switches(sys.argv[1:] if arguments is None else arguments)
    try:
        if arguments is None:
            settle()
        status = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _fail(f"{error}\nSee `imagehaul --help`.", 2, tokens)
    except HaulError as error:
        return _fail(str(error), error.exit_status, tokens)
    except KeyboardInterrupt:
        return _fail("Interrupted. What was proven stays; run again to go on from there.", 1, tokens)
    except OSError as error:
        where = f" {error.filename!r}" if error.filename else ""
        return _fail(f"{error.strerror or error}{where}. Free room or grant permission, and run again.", 1, tokens)
    return int(status or 0)


def _fail(message: str, status: int, tokens: Sequence[str]) -> int:
    sys.stderr.write(f"imagehaul: {printable_lines(message)}\n")
    if "--json" in tokens:
        sys.stdout.write(json.dumps({"error": message, "exit_status": status}) + "\n")
    return status


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    # SIGTERM ends a run as Ctrl-C does: children are ended, scratch is removed.
    raise KeyboardInterrupt


def _join_switches(tokens: Sequence[str]) -> list[str]:
    """`--serve-original-image true` means `--serve-original-image=true`, as it does for all other settings."""
    joined: list[str] = []
    for token in tokens:
        if joined and joined[-1] in SWITCHES and token.lower() in ("true", "false"):
            joined[-1] += f"={token.lower()}"
        else:
            joined.append(token)
    return joined


if __name__ == "__main__":
    sys.exit(main())
