"""Verification, and the repair of what it finds: what the source still has is sent again."""

from __future__ import annotations

import tempfile
from pathlib import Path

from flows.batch_threads import RunBatches
from flows.chain import deliver
from flows.layout import Layout
from flows.progress import Progress
from flows.records import Request
from flows.settings import Settings
from flows.store import Store
from flows.summary import Summary
from flows.verification import Verification, verify


def verify_and_repair(
    dataset: str,
    settings: Settings,
    store: Store,
    progress: Progress,
    run_batches: RunBatches,
    content: bool = False,
    repair: str = "",
    annotations: str = "",
) -> tuple[Verification, Summary | None]:
    """`repair`: the source to send from, "" = only look. The verification is the one after the repair.

    Raises HaulError: as `verify` and `deliver` do.
    """
    layout = Layout.of(settings.remote_save, dataset)
    with tempfile.TemporaryDirectory(prefix="imagehaul-", dir=settings.scratch or None) as scratch:
        (Path(scratch) / "before").mkdir()
        found = verify(store, layout, content, settings.transfer_workers, Path(scratch) / "before", progress)
        if not repair or found.exit_status == 0:
            return found, None
        progress.say(f"{found.headline}. Sending again from {repair}.")
        request = Request(dataset, repair, annotations, rerun="failed", broken=str(found.findings))
        summary = deliver(request, settings, store, run_batches, progress)
        (Path(scratch) / "after").mkdir()
        after = verify(store, layout, content, settings.transfer_workers, Path(scratch) / "after", progress)
        return after, summary
