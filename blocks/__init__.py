"""Forms in the Prefect UI: the object store, and the keys for it."""

from blocks.credentials import ObjectStoreCredentials
from blocks.object_store import ObjectStore

__all__ = ["ObjectStore", "ObjectStoreCredentials"]
