"""Points readers at an older run again, where all that its index names is still there as it was.

Nothing is sent and nothing removed: a delivery replaces a changed image under its own key, and what was overwritten
since cannot come back. The next delivery goes on from what the source holds, as after a run that was not published.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from imagehaul.delivery.holding import holding
from imagehaul.delivery.lost_exports import lost_exports
from imagehaul.delivery.verification import EXAMPLES, VerificationRun, compare_publication
from imagehaul.layout import Layout
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.comparison import Finding, examples, tally
from imagehaul.ledger.publications import current_publication, publication
from imagehaul.ledger.runs import Runs
from imagehaul.progress import Progress
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store
from imagehaul.store.files import OwnFiles


@dataclass(frozen=True, slots=True)
class Restored:
    """`run` is current now, or would be in a dry run, unless something of it is gone.

    `overwritten`: objects of its ledger that have other bytes now, `missing` and `unread` as in a verification.
    `lost_exports`: those that are no longer there. `before`: the run that readers used.
    """

    dataset: str
    run: str
    before: str
    dry_run: bool
    objects: int
    proven: int
    overwritten: int
    missing: int
    unread: int
    lost_exports: tuple[str, ...]
    seconds: float
    examples: tuple[Finding, ...]

    @property
    def possible(self) -> bool:
        return self.proven == self.objects and not self.lost_exports

    @property
    def exit_status(self) -> int:
        return 0 if self.possible else 1

    @property
    def headline(self) -> str:
        if not self.possible:
            gone = [(self.overwritten, "overwritten since"), (self.missing, "missing"), (self.unread, "not readable")]
            said = [f"{count:,} of {self.objects:,} objects are {what}" for count, what in gone if count]
            said += [f"{uri} is gone" for uri in self.lost_exports]
            return (
                f"{self.dataset}: run {self.run} cannot be restored: {', '.join(said)}. Run {self.before} stays current"
            )
        if self.run == self.before:
            return f"{self.dataset}: run {self.run} is current already, and its {self.objects:,} objects are proven"
        verb = "could be" if self.dry_run else "is"
        return (
            f"{self.dataset}: run {self.run} {verb} current again, in place of {self.before}: "
            f"its {self.objects:,} objects are proven"
        )

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "restored": self.possible and not self.dry_run, "seconds": round(self.seconds, 3)}


def restore(
    dataset: str,
    run: str,
    settings: Settings,
    store: Store,
    folder: Path,
    progress: Progress,
    dry_run: bool = False,
    source: Store | None = None,
) -> Restored:
    """`folder`: an empty scratch folder. `source`: the store of originals that stay in place, None = the same.

    Raises SettingsError for a run that was not published, LockedError where another run published meanwhile, and
    StoreError.
    """
    began = time.monotonic()
    layout, options = Layout.of(settings.remote_save, dataset), settings.object_options()
    client = store.patient_client()
    with holding(store, layout, options, progress, dry_run) as (held, can), closing(Catalog(folder)) as catalog:
        with store.explaining("read", layout.uri(layout.runs)):
            current = current_publication(client, layout)
            wanted = publication(client, layout, run, current)
        looked = VerificationRun(store, layout, folder, progress, settings.transfer_workers, source=source)
        compare_publication(catalog, looked, wanted)
        lost = lost_exports(store, wanted)
        counts = tally(catalog)
        found = Restored(
            dataset=dataset,
            run=wanted.run,
            before=current.run,
            dry_run=dry_run,
            objects=counts.objects,
            proven=counts.proven,
            overwritten=counts.problems["changed"],
            missing=counts.problems["missing"],
            unread=counts.problems["unread"],
            lost_exports=lost,
            seconds=0.0,
            examples=tuple(finding for finding in examples(catalog, EXAMPLES) if finding.problem != "extra"),
        )
        if held and found.possible and wanted.run != current.run:
            held.check()
            again = replace(wanted, created=current.created)
            Runs(layout, OwnFiles(client, options)).publish(again, current, can)
    return replace(found, seconds=time.monotonic() - began)
