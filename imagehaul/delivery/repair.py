"""Verification, and the repair of what it finds: what the source still has is sent again."""

from __future__ import annotations

from dataclasses import replace

from imagehaul.delivery.batch_threads import RunBatches
from imagehaul.delivery.chain import deliver
from imagehaul.delivery.diff import keep_file
from imagehaul.delivery.faults import explaining_faults
from imagehaul.delivery.scratch import scratch_folder
from imagehaul.delivery.summary import Summary
from imagehaul.delivery.verification import Verification, VerificationRun, verify
from imagehaul.layout import MAIN_SOURCE, Layout
from imagehaul.progress import Progress
from imagehaul.records import Request
from imagehaul.settings import Settings
from imagehaul.sources.source_store import source_store as store_of_source
from imagehaul.store.endpoint import Store


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

    Raises HaulError: as `verify` and `deliver` do.
    """
    store = store.under(settings.bucket_terms())
    layout = Layout.of(settings.remote_save, dataset)
    source = store_of_source(replace(settings.source_options(), source_store=source_store), store)
    with explaining_faults("verify", settings, store), scratch_folder(settings) as scratch:
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
            source_name=source_name or MAIN_SOURCE,
            source_store=source_store,
        )
        summary = deliver(request, settings, store, run_batches, progress)
        (scratch / "after").mkdir()
        after = verify(replace(run, folder=scratch / "after"))
        return _kept(after, findings), summary


def _kept(found: Verification, findings: str) -> Verification:
    if findings:
        keep_file(found.findings, findings, f"{found.headline}.\nThe findings")
    return found
