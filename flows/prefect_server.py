"""Whether the Prefect API answers; for those who import Prefect anyway."""

from __future__ import annotations

from httpx import HTTPError
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from imagehaul.errors import HaulError


def reach_api() -> None:
    """Starts Prefect's embedded server where no API is configured. Raises `HaulError` where it does not answer."""
    try:
        with get_client(sync_client=True) as client:
            client.hello().raise_for_status()
    except (HTTPError, RuntimeError) as error:
        where = get_current_settings().api.url or "that Prefect starts by itself"
        raise HaulError(
            f"The Prefect API {where} does not answer ({type(error).__name__}).\n"
            "Start it (prefect server start), or correct PREFECT_API_URL."
        ) from error


def ui_url() -> str:
    """Where a browser finds the UI, without a slash at its end."""
    return (get_current_settings().ui_url or "").rstrip("/")
