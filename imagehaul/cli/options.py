"""What the options of a command say together: the settings, the store, and whether Prefect runs it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from imagehaul.errors import SettingsError

if TYPE_CHECKING:
    from imagehaul.cli.settings_options import SettingsOptions
    from imagehaul.settings import Settings
    from imagehaul.store.endpoint import Store


def resolve(config: Path | None, options: SettingsOptions | None) -> tuple[Settings, list[str]]:
    """The settings, and warnings for the user. Raises `SettingsError`."""
    from imagehaul.settings_loading import resolve_settings
    from imagehaul.settings_validators import parts

    # An option that may be given several times holds each time what a variable of the environment does: `a,b` are two.
    given = {
        name: [part for item in value for part in parts(item)] if isinstance(value, list) else value
        for name, value in (options or {}).items()
    }
    return resolve_settings(given, config, os.environ, Path.cwd())


def runs_as_flow(prefect: bool | None, block: str, option: str = "--store") -> bool:
    """Raises `SettingsError` where a block is named that no Prefect API can give."""
    from imagehaul.flows.prefect_api import is_configured

    configured = is_configured(os.environ)
    if block and not configured:
        raise SettingsError(
            f"{option} {block} names a Prefect block, and no Prefect API is configured. Set PREFECT_API_URL "
            f"(for instance http://127.0.0.1:4200/api), or leave {option} out and give "
            f"{'SOURCE_' if option == '--source-store' else ''}OBJECT_STORE_URL."
        )
    return configured if prefect is None else prefect


def require_api(doing: str) -> None:
    """Raises `SettingsError` where no Prefect API is configured."""
    from imagehaul.flows.prefect_api import is_configured

    if not is_configured(os.environ):
        raise SettingsError(
            f"No Prefect API is configured, so there is nowhere to {doing}. Set PREFECT_API_URL, for instance http://127.0.0.1:4200/api."
        )


def open_store(settings: Settings, block: str) -> Store:
    """The block's, or the one that settings, environment and files say."""
    if block:
        from imagehaul.blocks.object_store import load_store

        return load_store(block).under(settings.bucket_terms())
    from imagehaul.store.endpoint import store_from_environment

    store = store_from_environment(settings.object_store_url, os.environ, Path.cwd())
    return store.under(settings.bucket_terms())
