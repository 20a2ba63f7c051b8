"""Whether a Prefect API is configured, found out without importing Prefect, which takes two seconds."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path


def is_configured(environ: Mapping[str, str]) -> bool:
    """By PREFECT_API_URL, or by the active profile (https://docs.prefect.io/v3/concepts/settings-and-profiles)."""
    if environ.get("PREFECT_API_URL"):
        return True
    home = Path(environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    file = Path(environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    try:
        profiles = tomllib.loads(file.read_text())
    except (OSError, ValueError):
        # No profile, or one that Prefect itself will complain about.
        return False
    active = environ.get("PREFECT_PROFILE") or profiles.get("active", "")
    profile = profiles.get("profiles", {}).get(active, {})
    return isinstance(profile, dict) and bool(profile.get("PREFECT_API_URL"))
