"""The hold on a data set for what changes it and delivers nothing: a restore, a prune, a source that is taken out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from imagehaul.layout import Layout, new_run_name
from imagehaul.ledger.lease import Lease, lease
from imagehaul.ledger.publications import current_publication
from imagehaul.progress import Progress
from imagehaul.records import ObjectOptions
from imagehaul.store.conditional_writes import Capabilities
from imagehaul.store.endpoint import Store
from imagehaul.store.probe import probe_writing


@contextmanager
def holding(
    store: Store, layout: Layout, options: ObjectOptions, progress: Progress, dry_run: bool = False
) -> Iterator[tuple[Lease | None, Capabilities]]:
    """Waits for a run that works on the data set, and holds it until the block ends. A dry run writes nothing.

    Raises StoreError where the store, the keys or the bucket are not what they should be, or the data set was never
    published: under a mistyped name no lock is to be left.
    """
    store.check(layout.bucket, layout.root, wait=True, setting="REMOTE_SAVE")
    if dry_run:
        yield None, Capabilities()
        return
    with store.explaining("read", layout.uri(layout.current)):
        current_publication(store.patient_client(), layout)
    capabilities = probe_writing(store, layout.bucket, layout.root, options)
    with lease(store, options, layout, capabilities, new_run_name(), "wait", progress.say) as held:
        yield held, capabilities
