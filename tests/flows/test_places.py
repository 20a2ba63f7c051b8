"""Relative paths of a run: a worker's folder is not the one that somebody had in mind."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagehaul.errors import SourceError
from imagehaul.flows.places import refuse_lost


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's folder, and a run of a deployment in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "of a deployment")


@pytest.mark.parametrize("place", ["sample", " /srv/photos", "../sample", "a\0b", "~nobody-of-that-name/x"])
def test_what_is_relative_and_not_there_is_refused_with_the_folder(place: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"is a relative path.*Give an absolute path") as refused:
        refuse_lost("", place)
    assert str(tmp_path) in str(refused.value)


def test_all_else_is_for_the_delivery_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sample").mkdir()
    refuse_lost("sample", "", "  ", "/not/there", "s3://bucket/x", "~/x")
    monkeypatch.delenv("PREFECT__RUNTIME__DEPLOYMENT__ID")
    refuse_lost("not there")
