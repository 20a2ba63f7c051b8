"""The commands that look at what was published, go back to it, or remove it."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter

from imagehaul.cli.options import open_store, resolve
from imagehaul.cli.output import print_json
from imagehaul.cli.parameters import Block, Config, Dataset, Json
from imagehaul.cli.settings_options import Every
from imagehaul.clock import seconds_since_entry


def diff(
    *runs: Annotated[
        str,
        Parameter(help="None: the publication before the current one, against that. One: that run against it. Or two."),
    ],
    dataset: Dataset,
    output: Annotated[str, Parameter(help="A file for the list of all that differs, as Parquet.")] = "",
    config: Config = None,
    store: Block = "",
    json: Json = False,
    settings: Every = None,
) -> int:
    from imagehaul.delivery.diff import diff as compare
    from imagehaul.delivery.scratch import scratch_folder
    from imagehaul.layout import Layout
    from imagehaul.progress import shown_on

    resolved, warnings = resolve(config, settings)
    layout, target = Layout.of(resolved.remote_save, dataset), open_store(resolved, store)
    with shown_on(sys.stderr) as progress, scratch_folder(resolved) as scratch:
        for warning in warnings:
            progress.warn(warning)
        found = compare(target, layout, runs, scratch, progress, output)
    found = replace(found, seconds=seconds_since_entry())
    if json:
        print_json(found.as_json())
    else:
        from rich.console import Console

        from imagehaul.cli.terminal import print_difference

        print_difference(found, Console(), output)
    return 0


def restore(
    run: Annotated[str, Parameter(help="The run that readers are to use again, such as 20261122T101500Z-1f3a9c.")],
    /,
    *,
    dataset: Dataset,
    dry_run: Annotated[bool, Parameter(help="Says whether it can be done, and does nothing.", negative="")] = False,
    config: Config = None,
    store: Block = "",
    json: Json = False,
    settings: Every = None,
) -> int:
    from imagehaul.delivery.restore import restore as point_back
    from imagehaul.delivery.scratch import scratch_folder
    from imagehaul.progress import shown_on
    from imagehaul.sources.source_store import source_store

    resolved, warnings = resolve(config, settings)
    target = open_store(resolved, store)
    with shown_on(sys.stderr) as progress, scratch_folder(resolved) as scratch:
        for warning in warnings:
            progress.warn(warning)
        source = source_store(resolved.source_options(), target)
        done = point_back(dataset, run, resolved, target, scratch, progress, dry_run, source)
    done = replace(done, seconds=seconds_since_entry())
    if json:
        print_json(done.as_json())
    else:
        from rich.console import Console

        from imagehaul.cli.terminal import print_restored

        print_restored(done, Console())
    return done.exit_status


def prune(
    *,
    dataset: Dataset,
    keep: Annotated[int, Parameter(help="How many of the newest runs stay.")],
    dry_run: Annotated[bool, Parameter(help="Says what would go, and removes nothing.", negative="")] = False,
    config: Config = None,
    store: Block = "",
    json: Json = False,
    settings: Every = None,
) -> int:
    from contextlib import ExitStack

    from imagehaul.delivery.prune import prune as remove_old
    from imagehaul.layout import Layout, new_run_name
    from imagehaul.ledger.lease import lease
    from imagehaul.progress import shown_on
    from imagehaul.store.probe import probe_writing

    resolved, _ = resolve(config, settings)
    layout, target = Layout.of(resolved.remote_save, dataset), open_store(resolved, store)
    target.check(layout.bucket, layout.root, wait=True, setting="REMOTE_SAVE")
    options = resolved.object_options()
    with shown_on(sys.stderr) as progress, ExitStack() as held:
        if not dry_run:
            can = probe_writing(target, layout.bucket, layout.root, options)
            held.enter_context(lease(target, options, layout, can, new_run_name(), "wait", progress.say))
        removed = remove_old(target, layout, keep, dry_run)
    if json:
        print_json(removed.as_json())
    else:
        print(removed.headline)
        for name in removed.runs:
            print(f"    {name}")
    return removed.exit_status


def sources(
    *,
    dataset: Dataset,
    forget: Annotated[str, Parameter(help="A source to take out of the index. Its images stay in the store.")] = "",
    config: Config = None,
    store: Block = "",
    json: Json = False,
    settings: Every = None,
) -> int:
    from dataclasses import asdict

    from imagehaul.delivery.scratch import scratch_folder
    from imagehaul.delivery.sources import forget_source, list_sources
    from imagehaul.layout import Layout
    from imagehaul.progress import shown_on

    resolved, warnings = resolve(config, settings)
    layout, target = Layout.of(resolved.remote_save, dataset), open_store(resolved, store)
    with shown_on(sys.stderr) as progress, scratch_folder(resolved) as scratch:
        for warning in warnings:
            progress.warn(warning)
        if forget:
            (scratch / "forget").mkdir()
            forget_source(forget, resolved, target, layout, scratch / "forget", progress)
        found = list_sources(target, layout, resolved, scratch)
    if json:
        print_json({"dataset": dataset, "forgotten": forget, "sources": [asdict(source) for source in found]})
    else:
        from rich.console import Console

        from imagehaul.cli.terminal import print_sources

        print_sources(dataset, found, Console())
    return 0
