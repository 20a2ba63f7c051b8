"""Forms in the Prefect UI: the object store, and the keys for it."""

from imagehaul.blocks.credentials import ObjectStoreCredentials
from imagehaul.blocks.object_store import ObjectStore

__all__ = ["ObjectStore", "ObjectStoreCredentials"]
