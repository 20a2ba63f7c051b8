"""Places that a run is given as paths: where it runs decides what a relative one leads to."""

from __future__ import annotations

import os
from pathlib import Path

from prefect import runtime

from imagehaul.errors import SourceError


def refuse_lost(*places: str) -> None:
    """Of a run of a deployment: what is relative and not there was meant from a folder that is not the worker's.

    A worker gives each run a temporary folder to work in, unless the deployment's steps fetch code.
    Raises `SourceError`.
    """
    if not runtime.deployment.id:
        return
    for place in places:
        path = os.path.expanduser(place)  # noqa: PTH111 - this never raises, and neither does the next
        relative = place.strip() and "://" not in place and not os.path.isabs(path)  # noqa: PTH117
        if relative and not os.path.exists(path):  # noqa: PTH110
            raise SourceError(
                f"{place!r} is a relative path, and there is nothing of that name in {str(Path.cwd())!r}, the folder "
                "in which the worker runs this. Give an absolute path, as the worker sees it."
            )
