"""`prefect.yaml` and the catalog of its data sets as they are read, without a Prefect server."""

from __future__ import annotations

from pathlib import Path

from imagehaul.flows.deployment_file import read_deployments
from tests.support.deploying import with_data_sets


def test_an_interval_of_nothing_is_there_to_be_refused(tmp_path: Path) -> None:
    file = with_data_sets(tmp_path, {"dataset": "birds", "source": "/srv/birds", "interval": 0})
    assert read_deployments(file)["deliver/birds"]["schedules"][0]["interval"] == 0
