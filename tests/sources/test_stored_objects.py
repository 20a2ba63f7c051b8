"""A single object of a store as a source's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagehaul.sources.stored_objects import fetch_one
from imagehaul.store import files as stored_files
from tests.support.answering import Answer
from tests.support.misbehaving import CUT_OFF, Misbehaving, after


def test_a_list_whose_body_breaks_off_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_files, "_PAUSES", (0.01, 0.01))
    with Misbehaving(after([CUT_OFF, CUT_OFF], Answer(200, b"whole"))) as server:
        file = fetch_one(server.store, "bucket", "lists/a.csv", tmp_path)
    assert (file.suffix, file.read_bytes()) == (".csv", b"whole")
