"""Whether the exports that readers are pointed at are still there: others may remove what they like in a store."""

from __future__ import annotations

from imagehaul.layout import split_object_uri
from imagehaul.ledger.runs import Current
from imagehaul.store.endpoint import Store
from imagehaul.store.listing import list_objects


def lost_exports(store: Store, published: Current) -> tuple[str, ...]:
    """URIs of its exports that are gone. Raises `StoreError` where the store cannot be asked."""
    with store.explaining("list", f"the exports of run {published.run}"):
        return tuple(uri for uri in published.exports.values() if not _is_there(store, uri))


def _is_there(store: Store, uri: str) -> bool:
    """The object, or something in the folder."""
    bucket, key = split_object_uri(uri)
    listed = list_objects(store.patient_client(), bucket, key)
    return any(item.key == key or key.endswith("/") for item in listed)
