"""The commands that look at what was published, go back to it, or remove it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from imagehaul.cli.options import open_store, resolve
from imagehaul.cli.output import print_json
from imagehaul.cli.parameters import Block, Config, Dataset, Json
from imagehaul.cli.settings_options import Every, SettingsOptions
from imagehaul.clock import seconds_since_entry

if TYPE_CHECKING:
    from imagehaul.layout import Layout
    from imagehaul.progress import Progress
    from imagehaul.settings import Settings
    from imagehaul.store.endpoint import Store


@dataclass(frozen=True)
class _Opened:
    settings: Settings
    store: Store
    layout: Layout
    progress: Progress
    scratch: Path


@contextmanager
def _opened(dataset: str, config: Path | None, block: str, options: SettingsOptions | None) -> Iterator[_Opened]:
    """What each of the commands begins with. Warns of settings."""
    from imagehaul.delivery.scratch import scratch_folder
    from imagehaul.layout import Layout
    from imagehaul.progress import shown_on

    settings, warnings = resolve(config, options)
    layout, store = Layout.of(settings.remote_save, dataset), open_store(settings, block)
    with shown_on(sys.stderr) as progress, scratch_folder(settings) as scratch:
        for warning in warnings:
            progress.warn(warning)
        yield _Opened(settings, store, layout, progress, scratch)


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

    with _opened(dataset, config, store, settings) as work:
        found = compare(work.store, work.layout, runs, work.scratch, work.progress, output)
    found = replace(found, seconds=seconds_since_entry())
    if json:
        print_json(found.as_json())
    else:
        from imagehaul.cli.terminal import print_difference, standard_output

        print_difference(found, standard_output(), output)
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
    from imagehaul.sources.source_store import source_store

    with _opened(dataset, config, store, settings) as work:
        source = source_store(work.settings.source_options(), work.store)
        done = point_back(dataset, run, work.settings, work.store, work.scratch, work.progress, dry_run, source)
    done = replace(done, seconds=seconds_since_entry())
    if json:
        print_json(done.as_json())
    else:
        from imagehaul.cli.terminal import print_restored, standard_output

        print_restored(done, standard_output())
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
    from imagehaul.delivery.holding import holding
    from imagehaul.delivery.prune import prune as remove_old

    with _opened(dataset, config, store, settings) as work:
        options = work.settings.object_options()
        with holding(work.store, work.layout, options, work.progress, dry_run):
            removed = remove_old(work.store, work.layout, keep, dry_run)
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

    from imagehaul.delivery.sources import forget_source, list_sources

    with _opened(dataset, config, store, settings) as work:
        if forget:
            own = work.scratch / "forget"
            own.mkdir()
            forget_source(forget, work.settings, work.store, work.layout, own, work.progress)
        found = list_sources(work.store, work.layout, work.settings, work.scratch)
    if json:
        print_json({"dataset": dataset, "forgotten": forget, "sources": [asdict(source) for source in found]})
    else:
        from imagehaul.cli.terminal import print_sources, standard_output

        print_sources(dataset, found, standard_output())
    return 0
