"""By what a run is found in the UI: its name, and the tags `imagehaul` and `dataset:NAME`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

# The form of Prefect's V2 UI begins with such a name: one of these, and an animal of up to six letters.
_BY_THE_UI = re.compile(
    "(Awesome|Rustic|Small|Gorgeous|Fantastic|Sleek|Intelligent|Unbranded|Refined|Licensed|Generic|Practical|Ergonomic"
    "|Handcrafted|Tasty|Handmade|Incredible)-.{1,6}"
)


def named(verb: str, parameter: str) -> Callable[[], str]:
    """The name of a run, "deliver raccoon"; or the one that a person gave it, who will look for that."""

    def name() -> str:
        given = flow_run.name or ""
        return f"{verb} {flow_run.parameters.get(parameter, '')}" if _is_made_up(given) else given

    return name


def tag_run(dataset: str) -> None:
    """Tags the run that this is called in."""
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, tags=sorted({*flow_run.tags, "imagehaul", f"dataset:{dataset}"}))


def _is_made_up(name: str) -> bool:
    """By Prefect: two of its words, or what a form of its UI begins with."""
    return not name or bool(_BY_THE_UI.fullmatch(name)) or _words().issuperset(name.split("-"))


@cache
def _words() -> frozenset[str]:
    from coolname.data import config

    parts: dict[str, Any] = config
    return frozenset(word for part in parts.values() for word in part.get("words", ()))
