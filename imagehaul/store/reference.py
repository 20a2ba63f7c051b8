"""How a job names its object store without a key: what a worker on another machine makes its own store from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from imagehaul.errors import SettingsError

if TYPE_CHECKING:
    from imagehaul.store.endpoint import Store

RESOLVERS = "imagehaul.store_resolvers"
"""The entry points whose name is `StoreReference.kind`: functions from a name to a `Store`. `blocks` registers its own,
so that a worker imports Prefect only where it has to load a block."""


@dataclass(frozen=True, slots=True)
class StoreReference:
    """`kind` "environment": as this process's own environment and files say, at the URL `name` ("" is AWS).

    Any other kind is a resolver's, which is given `name`: "block", a saved block's name.
    """

    kind: str = "environment"
    name: str = ""

    def __str__(self) -> str:
        return f"the keys of its own environment, at {self.name or 'AWS'}" if self.kind == "environment" else self.name


def resolve_store(reference: StoreReference) -> Store:
    """Raises SettingsError: this process has no keys, no such resolver, or the resolver says why."""
    from imagehaul.store.endpoint import store_from_environment

    if reference.kind == "environment":
        return store_from_environment(reference.name, os.environ, Path.cwd())
    for entry in entry_points(group=RESOLVERS, name=reference.kind):
        store: Store = entry.load()(reference.name)
        return store
    raise SettingsError(
        f"This worker cannot resolve the store {reference.name!r}: no resolver {reference.kind!r} is installed.\n"
        "Install imagehaul on the worker, in the version of the machine that leads."
    )
