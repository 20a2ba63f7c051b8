"""The end of a run at a store that refuses one of its files: which one is named, and what readers use on."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagehaul.store.endpoint import Store
from tests.support.delivering import Target, draw
from tests.support.fault_proxy import Exchange, Fault, FaultProxy, says


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ("/ledger/", "the ledger of run {run}"),
        ("/exports/", "the exports of run {run}"),
        ("/current.json", "current.json for run {run}"),
    ],
)
def test_what_the_store_refused_is_named_and_the_run_that_is_still_current(
    tmp_path: Path, store: Store, bucket: str, part: str, named: str
) -> None:
    def refusing(exchange: Exchange) -> Fault | None:
        # The probe of what the store can do writes below other names.
        return says(403, "AccessDenied") if exchange.method == "PUT" and part in exchange.path else None

    draw(tmp_path / "a.jpg", seed=1)
    with FaultProxy(store, refusing) as proxy:
        refused = Target(proxy.store, bucket).deliver(tmp_path)
        assert f"refused to write {named.format(run=refused.run)}: AccessDenied" in refused.refused
        assert refused.refused.endswith("\nNo run is current yet.")
        first = Target(store, bucket).deliver(tmp_path)
        draw(tmp_path / "b.jpg", seed=2)
        again = Target(proxy.store, bucket).deliver(tmp_path)
    assert again.exit_status == 1
    assert named.format(run=again.run) in again.refused
    assert again.refused.endswith(f"\nRun {first.run} is still current.")
    assert Target(store, bucket).current()["run"] == first.run


def test_a_report_that_is_refused_takes_nothing_back(tmp_path: Path, store: Store, bucket: str) -> None:
    def refusing(exchange: Exchange) -> Fault | None:
        return says(403, "AccessDenied") if exchange.method == "PUT" and "/report.json" in exchange.path else None

    draw(tmp_path / "a.jpg")
    with FaultProxy(store, refusing) as proxy:
        target = Target(proxy.store, bucket)
        summary = target.deliver(tmp_path)
    assert (summary.published, summary.refused, summary.exit_status) == (True, "", 0)
    assert any(f"refused to write the report of run {summary.run}" in line for line in target.lines.warned)
