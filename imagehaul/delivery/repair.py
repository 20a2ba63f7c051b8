"""Verification, and the repair of what it finds: what the source still has is sent again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from imagehaul.delivery.batch_threads import RunBatches
from imagehaul.delivery.chain import deliver
from imagehaul.delivery.diff import keep_file
from imagehaul.delivery.faults import explaining_faults
from imagehaul.delivery.scratch import scratch_folder
from imagehaul.delivery.summary import Summary
from imagehaul.delivery.verification import Verification, VerificationRun, verify
from imagehaul.errors import SettingsError
from imagehaul.layout import MAIN_SOURCE, Layout
from imagehaul.ledger.publications import current_publication, need_source, settings_of
from imagehaul.progress import Progress
from imagehaul.records import Request
from imagehaul.settings import Settings
from imagehaul.sources.source_store import source_store as store_of_source
from imagehaul.store.endpoint import Store

_SHAPE_OBJECTS = (
    "source_use_fullpath",
    "preprocess_image_transfer",
    "preprocess_normalize_output",
    "skip_image_thumbnail_generation",
    "save_thumbnails_method",
    "originals",
    "key_prefix",
    "thumbnail_size",
    "thumbnail_format",
    "thumbnail_quality",
    "crop_margin",
    "box_space",
)
_SHAPE_EXPORTS = ("exports", "export_entities_result_bucket", "cdn_fullpath", "serve_original_image")
"""Settings by which another data set, or another index of it, would be published."""


def verify_and_repair(
    dataset: str,
    settings: Settings,
    store: Store,
    progress: Progress,
    run_batches: RunBatches,
    content: bool = False,
    repair: str = "",
    annotations: tuple[str, ...] = (),
    findings: str = "",
    source_name: str = "",
    source_store: str = "",
) -> tuple[Verification, Summary | None]:
    """`repair`: the source to send from, "" = only look. The verification is the one after the repair.

    `source_name`: which of the data set's sources is looked at, and is mended from there; "" = all are looked at, and
    the main one is mended. `source_store`: the block of the store that the source lies in, "" = as the settings say.
    `findings`: a file for the whole list of them, as Parquet; "" = the examples alone are kept.

    Raises HaulError: as `verify` and `deliver` do; SettingsError where the data set was delivered with settings by
    which other objects or exports are made than by these.
    """
    store = store.under(settings.bucket_terms())
    layout = Layout.of(settings.remote_save, dataset)
    mended = source_name or MAIN_SOURCE
    source = store_of_source(replace(settings.source_options(), source_store=source_store), store)
    with explaining_faults("verify", settings, store), scratch_folder(settings) as scratch:
        if repair:
            _refuse_another_shape(store, layout, settings, mended, progress)
        (scratch / "before").mkdir()
        run = VerificationRun(
            store=store,
            layout=layout,
            folder=scratch / "before",
            progress=progress,
            workers=settings.transfer_workers,
            content=content,
            source=source,
            source_name=source_name,
        )
        found = verify(run)
        if not repair or found.exit_status == 0:
            return _kept(found, findings), None
        progress.say(f"{found.headline}. Sending again from {repair}.")
        request = Request(
            dataset,
            repair,
            annotations,
            rerun="failed",
            broken=str(found.findings),
            source_name=mended,
            source_store=source_store,
        )
        summary = deliver(request, settings, store, run_batches, progress)
        (scratch / "after").mkdir()
        after = verify(replace(run, folder=scratch / "after"))
        _say_what_is_left(after, summary, progress)
        return _kept(after, findings), summary


def _refuse_another_shape(
    store: Store, layout: Layout, settings: Settings, source_name: str, progress: Progress
) -> None:
    """Raises SettingsError where the repair would publish another data set than the one that is to be mended."""
    client = store.patient_client()
    with store.explaining("read", layout.uri(layout.current)):
        current = current_publication(client, layout)
        need_source(layout, source_name, current)
        of_source = settings_of(client, layout, current.sources[source_name].run)
        of_exports = settings_of(client, layout, current.run)
    if not (of_source and of_exports):
        progress.warn(
            f"The report of the run that delivered {source_name!r}, or of the current one, is gone: whether it was "
            "made by these settings is not known."
        )
    given = settings.model_dump(mode="json")
    before = {name: of_source[name] for name in _SHAPE_OBJECTS if name in of_source}
    before |= {name: of_exports[name] for name in _SHAPE_EXPORTS if name in of_exports}
    if others := [name for name, value in before.items() if given[name] != value]:
        raise SettingsError(
            f"{layout.dataset!r} was delivered with {_listed(before, others)}, and would be mended with "
            f"{_listed(given, others)}: what was made by those settings would leave the index.\n"
            "Give the settings of the delivery here as well, or deliver the data set again with the new ones."
        )


def _say_what_is_left(after: Verification, summary: Summary, progress: Progress) -> None:
    left = {finding.source_path for finding in after.examples}
    for problem in summary.problems:
        if problem.path in left:
            progress.say(f"Not mended: {problem.path}: {problem.code}. {problem.message}")


def _listed(values: dict[str, Any], names: list[str]) -> str:
    return ", ".join(f"{name.upper()}={_shown(values[name])}" for name in names)


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)


def _kept(found: Verification, findings: str) -> Verification:
    if findings:
        keep_file(found.findings, findings, f"{found.headline}.\nThe findings")
    return found
