"""Preloaded by a Dask worker (`--preload`): one that does not look at the lease, to show what the fence is for."""

from __future__ import annotations

from typing import Any

from imagehaul.ledger.fence import FenceView


def dask_setup(_worker: Any) -> None:
    """Dask calls it in the worker's process, and nothing else does.

    https://docs.dask.org/en/stable/how-to/customize-initialization.html
    """
    FenceView.holds = property(lambda _: True)  # type: ignore[assignment, method-assign]
    FenceView._keep_looking = lambda _: None  # type: ignore[method-assign]
