"""Events that other flows and automations can start from, and the data set as an asset."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from prefect.assets import Asset, AssetProperties, add_asset_metadata, materialize
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed
from prefect.types.names import validate_valid_asset_key

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
        _materialize(summary, layout)


def _materialize(summary: Summary, layout: Layout) -> None:
    """The data set as an asset of Prefect, with its source upstream. A server without assets takes it as an event."""
    if not (key := asset_key(layout.uri(layout.root))):
        return
    upstream = asset_key(summary.source if "://" in summary.source else f"file://{summary.source}")
    counts = summary.counts

    @materialize(
        Asset(key=key, properties=AssetProperties(name=summary.dataset, url=layout.uri(layout.current))),
        by="imagehaul",
        name="Publish asset",
        task_run_name="Asset",
        asset_deps=[upstream] if upstream else [],
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=0,
    )
    def publish_asset() -> State[Any]:
        add_asset_metadata(key, {"run": summary.run, **asdict(counts), "ledger": summary.ledger, **summary.exports})
        return Completed(message=key)

    publish_asset(return_state=True)


def asset_key(uri: str) -> str:
    """ "" where Prefect takes no such key: it refuses some characters, such as spaces, and long ones."""
    key = uri.rstrip("/")
    try:
        return validate_valid_asset_key(key)
    except ValueError:
        return ""
