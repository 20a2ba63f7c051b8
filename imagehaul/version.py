"""Which imagehaul this is, for reports and exports."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def software() -> str:
    try:
        return f"imagehaul {version('imagehaul')}"
    except PackageNotFoundError:
        # Run from a checkout that is not installed, as a Prefect worker may.
        return "imagehaul"
