"""The commands for trying it out on one machine: pictures to deliver, and a store to deliver them to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def sample(folder: Annotated[Path, Parameter(help="A folder that is not there yet, or is empty.")], /) -> int:
    from imagehaul.local.sample import write_sample

    print(write_sample(folder))
    return 0


def store(
    folder: Annotated[Path, Parameter(help="Where the store keeps its data.")],
    /,
    *,
    port: Annotated[int, Parameter(help="Port on this machine. 0: a free one.")] = 0,
) -> int:
    from imagehaul.local.embedded_store import serve

    serve(folder, port)
    return 0
