"""From the reference in a job to the store: what a worker on another machine makes its own clients from."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from pathlib import Path

from imagehaul.errors import SettingsError
from imagehaul.store.endpoint import Store, store_from_environment
from imagehaul.store.reference import StoreReference

RESOLVERS = "imagehaul.store_resolvers"
"""The entry points whose name is `StoreReference.kind`: functions from a name to a `Store`. `blocks` registers its own,
so that a worker imports Prefect only where it has to load a block."""


def resolve_store(reference: StoreReference) -> Store:
    """Raises SettingsError: this process has no keys, no such resolver, or the resolver says why."""
    if reference.kind == "environment":
        return store_from_environment(reference.name, os.environ, Path.cwd()).under(reference.terms)
    for entry in entry_points(group=RESOLVERS, name=reference.kind):
        store: Store = entry.load()(reference.name)
        return store.under(reference.terms)
    raise SettingsError(
        f"This worker cannot resolve the store {reference.name!r}: no resolver {reference.kind!r} is installed.\n"
        "Install imagehaul on the worker, in the version of the machine that leads."
    )
