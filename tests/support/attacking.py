"""A data set that is delivered through a proxy that makes faults, and what must be true of it after any run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest

from imagehaul.delivery.summary import Summary
from imagehaul.errors import HaulError
from imagehaul.records import EngineName
from tests.support.delivering import Target
from tests.support.fault_proxy import (
    Exchange,
    Fault,
    FaultProxy,
)
from tests.support.sending import stored

IMAGES = 30
ENGINES = pytest.mark.parametrize("engine", get_args(EngineName))
Choose = Callable[[Exchange], Fault | None]
"""The fault that a request meets."""


@dataclass
class Attack:
    """A data set that is delivered through the proxy, and looked at without it."""

    proxy: FaultProxy
    target: Target
    direct: Target
    source: Path
    engine: str

    def deliver(self, fault: Choose, **settings: Any) -> Summary | HaulError:
        self.proxy.fault, self.proxy.hit = fault, 0
        try:
            return self.target.deliver(
                self.source,
                settings={"batch_size": 10, "workers": 2, "transfer_engine": self.engine, **settings},
            )
        except HaulError as error:
            return error

    def holds(self, outcome: Summary | HaulError) -> None:
        """What must be true after any run: nothing is claimed that a plain client does not find."""
        there = stored(self.direct.store, self.direct.bucket)
        images = {
            f"{self.direct.root}images/{file.relative_to(self.source)}": file.read_bytes()
            for file in self.source.rglob("*.jpg")
        }
        whole = all(there.get(key) == data for key, data in images.items())
        published = f"{self.direct.root}current.json" in there
        assert whole or not published
        if isinstance(outcome, HaulError):
            assert "Traceback" not in str(outcome)
            assert 1 <= len(str(outcome).splitlines()) <= 3
            assert not published
            return
        counts = outcome.counts
        assert counts.planned == counts.delivered + counts.unchanged + counts.rejected + counts.failed == IMAGES
        assert (outcome.exit_status == 0) == (counts.failed == 0 and not outcome.refused)
        if outcome.exit_status == 0:
            assert whole
            assert published
            assert self.direct.current()["run"] == outcome.current_run
        for row in self.direct.ledger(outcome.run) if outcome.ledger.endswith(f"{outcome.run}/ledger/") else []:
            if row["status"] in ("delivered", "unchanged"):
                assert row["key"] in there, row
                assert row["kind"] != "image" or there[row["key"]] == images[row["key"]], row
            else:
                assert row["code"], row
                assert row["message"], row

    def is_made_whole_by_a_rerun(self) -> None:
        """Without the fault, and without sending again what a plain client finds there."""
        before = {key for key in self.direct.listed() if key.startswith(("images/", "thumbnails/"))}
        again = self.deliver(lambda _: None)
        assert isinstance(again, Summary)
        assert (again.exit_status, again.counts.failed) == (0, 0)
        assert again.counts.objects == 2 * IMAGES - len(before)
        self.holds(again)
        assert set(self.direct.listed("images/") + self.direct.listed("thumbnails/")) >= before
        assert self.deliver(lambda _: None).nothing_changed  # type: ignore[union-attr]


def sent(fault: Fault, every: int = 1, after: int = 0) -> Choose:
    """Each `every`th request that sends, from the one after the first `after` of them on, for as long as it lasts."""
    requests = 0

    def choose(exchange: Exchange) -> Fault | None:
        nonlocal requests
        requests += exchange.sends
        return fault if exchange.sends and requests > after and requests % every == 0 else None

    return choose
