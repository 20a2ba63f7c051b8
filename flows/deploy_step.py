"""A step of `prefect.yaml` that stops `prefect deploy`, which would make deployments that cannot work."""

from __future__ import annotations

from imagehaul.errors import SettingsError


def refuse() -> None:
    """Raises `SettingsError`."""
    raise SettingsError(
        "Deploy with: imagehaul deploy. It takes the same file. prefect deploy would leave out the settings and the "
        "scheduled data sets, and would write relative folders into a temporary one."
    )
