"""The proof as a stage: every row gets its final status by what the store lists now, whatever the senders said."""

from __future__ import annotations

from imagehaul.delivery.inventory import list_store
from imagehaul.delivery.run import Proof, Run, WorkResult
from imagehaul.ledger.counts import count_outcome
from imagehaul.ledger.inventory import load_listing
from imagehaul.ledger.proof import (
    collect_outcome,
    name_changed_sources,
    name_what_was_not_looked_at,
    was_attempted,
)
from imagehaul.ledger.proof import prove as prove_rows
from imagehaul.sources.source import sha256_of
from imagehaul.store.explanations import explain


def prove(run: Run, worked: WorkResult) -> Proof:
    """Raises HaulError for the scratch disk's faults alone: what the store does not show is not delivered."""
    run.progress.stage("Proving by a listing of the store")
    collect_outcome(run.catalog, worked.parts, run.mapping, run.wanted.thumbnails)
    try:
        if was_attempted(run.catalog) or run.mapping.originals:
            list_store(run)
        _judge(run, run.settings.proof == "read_back")
        name_changed_sources(run.catalog, run.source.has_changed)
    except Exception as error:
        # What cannot be proven is not delivered; the rows say so.
        problem = explain(error, "list", run.layout.uri(run.layout.root), run.store.url)
        warnings = (run.warn(str(problem)),)
        load_listing(run.catalog, (), run.layout)
        _judge(run, read_back=False)
        name_what_was_not_looked_at(run.catalog, problem)
        return Proof(count_outcome(run.catalog), problem, warnings)
    return Proof(count_outcome(run.catalog))


def _judge(run: Run, read_back: bool) -> None:
    workers = run.settings.transfer_workers
    prove_rows(
        run.catalog,
        run.client,
        run.layout.bucket,
        workers,
        read_back,
        lambda entry: sha256_of(run.source, entry, run.scratch),
    )
