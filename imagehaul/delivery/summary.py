"""What a delivery comes to: counts that add up, and the words that go with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from imagehaul.layout import MAIN_SOURCE
from imagehaul.ledger.counts import Counts, Problem, Reason
from imagehaul.text import counted

MOST_PICTURES = 40
"""So many thumbnails or crops stand on a contact sheet."""
MOST_PROBLEMS = 100
"""So many rejected and failed files are named one by one; the ledger names all."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The outcome of one delivery. `published`: readers use this run's state now; `refused`: why they do not.

    `pictures`: keys of some thumbnails or crops, to show. `ledger` is a URI and `exports` are name → URI, of the
    current run where this one changed nothing; "" and empty where there is none.
    `plan`: of a dry run, what no other plan has. `sources`: those of the index, and the images that it shows of each;
    all other counts are of the source `source_name` alone.
    """

    dataset: str
    run: str
    source: str
    counts: Counts
    new: int
    changed: int
    vanished: int
    seconds: float
    engine: str
    ledger: str
    exports: dict[str, str]
    published: bool
    runner: str = "processes"
    nothing_changed: bool = False
    dry_run: bool = False
    pending_bytes: int = 0
    refused: str = ""
    current_run: str = ""
    plan: str = ""
    source_name: str = MAIN_SOURCE
    sources: dict[str, int] = field(default_factory=dict)
    reasons: tuple[Reason, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    quality: tuple[str, ...] = ()
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def export(self) -> str:
        """URI of the folder of the exports that are always there, "" where nothing is published."""
        return self.exports["json"].removesuffix("metadata.json") if self.exports else ""

    @property
    def sent_by(self) -> str:
        """In words: the engine, or that none was needed."""
        return f"sent by {self.engine}" if self.engine != "none" else "nothing had to be sent"

    @property
    def exit_status(self) -> int:
        return 1 if self.counts.failed or self.refused else 0

    def as_json(self) -> dict[str, Any]:
        """The last line of `--json`: a contract (`docs/contracts.md`)."""
        counts = self.counts
        return {
            "dataset": self.dataset,
            "run": self.run,
            "planned": counts.planned,
            "delivered": counts.delivered,
            "unchanged": counts.unchanged,
            "rejected": counts.rejected,
            "failed": counts.failed,
            "objects": counts.objects,
            "bytes": counts.bytes,
            "seconds": round(self.seconds, 3),
            "engine": self.engine,
            "runner": self.runner,
            "ledger": self.ledger,
            "export": self.export,
            "exports": self.exports,
            "source": self.source,
            "source_name": self.source_name,
            "sources": self.sources,
            "new": self.new,
            "changed": self.changed,
            "vanished": self.vanished,
            "published": self.published,
            "dry_run": self.dry_run,
            "pending": counts.pending,
            "refused": self.refused,
            "current_run": self.current_run,
            "reasons": [
                {
                    "code": reason.code,
                    "status": reason.status,
                    "images": reason.images,
                    "renditions": reason.renditions,
                    "example": reason.example,
                }
                for reason in self.reasons
            ],
            "quality": list(self.quality),
            "warnings": list(self.warnings),
            "left_out": self.left_out,
        }

    @property
    def headline(self) -> str:
        """One line that tells the truth; the final state of a flow run carries it."""
        counts = self.counts
        planned = f"{self.dataset}: {counted(counts.planned, 'image')}"
        said = (
            f"{planned}: {counts.delivered:,} delivered, "
            f"{counts.unchanged:,} unchanged, {counts.rejected:,} rejected, {counts.failed:,} failed"
        )
        if self.dry_run:
            return f"{planned}, {counts.pending:,} of them to send; nothing was sent"
        if self.refused:
            return f"{said}. Not published: {self.refused}"
        return said
