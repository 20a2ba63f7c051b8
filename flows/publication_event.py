"""Events that other flows and automations can start from."""

from __future__ import annotations

import math
from typing import Any

from prefect.events import emit_event

from imagehaul.delivery.summary import Summary
from imagehaul.layout import Layout
from imagehaul.settings import Settings

PUBLISHED = "imagehaul.dataset.published"
ENDED = "imagehaul.delivery.ended"


def tell_others(summary: Summary, settings: Settings) -> None:
    """An event for each delivery that came to its end, and one more for each published data set.

    Triggers compare labels and not numbers: the share of rejected images is a label, in whole percent, rounded up.
    """
    if summary.dry_run:
        return
    counts = summary.counts
    layout = Layout.of(settings.remote_save, summary.dataset)
    resource = {
        "prefect.resource.id": f"imagehaul.dataset.{layout.bucket}/{layout.root}",
        "prefect.resource.name": summary.dataset,
        "imagehaul.dataset": summary.dataset,
        "imagehaul.run": summary.run,
        "imagehaul.rejected-percent": str(math.ceil(100 * counts.rejected / counts.planned) if counts.planned else 0),
    }
    payload: dict[str, Any] = {**summary.as_json(), "current": layout.uri(layout.current)}
    emit_event(ENDED, resource, payload=payload)
    if summary.published:
        emit_event(PUBLISHED, resource, payload=payload)
