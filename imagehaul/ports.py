"""Ports that this machine can listen at."""

from __future__ import annotations

from imagehaul.errors import SettingsError

LAST_PORT = 65_535


def checked_port(port: int) -> int:
    """0 = a free one. Raises SettingsError where there is none of that number."""
    if not 0 <= port <= LAST_PORT:
        raise SettingsError(
            f"There is no port {port}. Name one from 1 to {LAST_PORT} with --port, or 0 for a free one."
        )
    return port
