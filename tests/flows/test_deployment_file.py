"""`prefect.yaml` and the catalog of its data sets as they are read, without a Prefect server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagehaul.errors import SettingsError
from imagehaul.flows.deployment_file import read_deployments
from tests.support.deploying import with_data_sets
from tests.support.prefect_runs import DEPLOYMENTS


def with_catalog(folder: Path, *lines: str) -> Path:
    """The project's own file, with its data sets in a CSV file."""
    (folder / "catalog.csv").write_text("\n".join(lines))
    file = folder / "prefect.yaml"
    file.write_text(DEPLOYMENTS.read_text().replace("data_sets: []", "data_sets: catalog.csv"))
    return file


def test_a_catalog_takes_what_the_list_takes(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"dataset": "raccoon", "like": "deliver/minio", "source": "/srv/raccoon", "cron": "0 2 * * *"},
        {"dataset": "bccd", "source": "s3://in/bccd", "rerun": "all", "allow_loss": True, "interval": "3600"},
        {"dataset": "raccoon", "like": "verify/minio", "content": True, "cron": "0 4 1 * *", "active": True},
    ]
    listed = read_deployments(with_data_sets(tmp_path, *rows))
    found = read_deployments(
        with_catalog(
            tmp_path,
            "dataset,like,source,rerun,allow_loss,content,cron,interval,active",
            "raccoon,deliver/minio,/srv/raccoon,,,,0 2 * * *,,",
            "bccd,,s3://in/bccd,all,TRUE,,,3600,",
            "raccoon,verify/minio,,,,yes,0 4 1 * *,,1",
        )
    )
    assert found == listed
    assert found["deliver/bccd"]["parameters"]["allow_loss"] is True


def test_an_empty_row_of_a_catalog_is_left_out(tmp_path: Path) -> None:
    file = with_catalog(tmp_path, "dataset,source,cron", "birds,/srv/birds,0 2 * * *", ",,", "", " , ,")
    assert "deliver/birds" in read_deployments(file)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["dataset,source,content", "birds,/srv/birds,perhaps"], "content of birds is 'perhaps'. Write true or false."),
        (["dataset,source,cron", ",/srv/birds,0 2 * * *"], "catalog.csv: each of data_sets needs a dataset"),
        (["dataset,source,cron", "birds,,0 2 * * *"], "birds names no source, and there would be nothing to deliver"),
        (["dataset,source,contnet", "birds,/srv/birds,true"], "has a column 'contnet', which is no setting"),
    ],
)
def test_a_catalog_that_cannot_be_is_refused_in_words(lines: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=words):
        read_deployments(with_catalog(tmp_path, *lines))


def test_a_data_set_of_the_list_that_names_no_source_is_refused_where_its_pattern_has_none(tmp_path: Path) -> None:
    file = with_data_sets(tmp_path, {"dataset": "birds", "cron": "0 2 * * *"})
    with pytest.raises(SettingsError, match="birds names no source, and there would be nothing to deliver"):
        read_deployments(file)


def test_an_interval_of_nothing_is_there_to_be_refused(tmp_path: Path) -> None:
    file = with_data_sets(tmp_path, {"dataset": "birds", "source": "/srv/birds", "interval": 0})
    assert read_deployments(file)["deliver/birds"]["schedules"][0]["interval"] == 0
