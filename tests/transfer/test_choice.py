"""Which engine sends, and the reason that it gives."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from imagehaul.records import ObjectOptions
from imagehaul.store.endpoint import Store
from imagehaul.transfer import obstore_engine as transfer_obstore
from imagehaul.transfer.engines import choose_engine
from imagehaul.transfer.obstore_engine import Obstore

pytestmark = pytest.mark.every_store


def test_s5cmd_sends_where_it_is_found_and_the_reason_names_it(store: Store) -> None:
    engine = choose_engine(store, "bucket", "s5cmd", 8, ObjectOptions())

    assert engine.name == "s5cmd"
    assert re.fullmatch(r"s5cmd v2\.\d+\.\d\S* sends: /.*/s5cmd/bin/s5cmd\.", engine.reason)


def test_boto3_sends_where_the_settings_say_so(store: Store) -> None:
    engine = choose_engine(store, "bucket", "boto3", 8, ObjectOptions())

    assert (engine.name, engine.reason) == ("boto3", "boto3 sends: the settings say so.")


def test_boto3_sends_where_s5cmd_cannot_reach_the_store(store: Store) -> None:
    engine = choose_engine(replace(store, addressing="virtual"), "bucket", "s5cmd", 8, ObjectOptions())

    assert engine.name == "boto3"
    assert "virtual-host addressing" in engine.reason


def test_boto3_sends_where_no_s5cmd_is_found(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("imagehaul.transfer.s5cmd_program.files", lambda _: [])
    engine = choose_engine(store, "bucket", "s5cmd", 8, ObjectOptions())

    assert (engine.name, engine.reason) == ("boto3", "boto3 sends: no s5cmd is installed.")


# -- many batches, few means -----------------------------------------------------------------------------------------


def test_obstore_sends_where_it_is_asked_for_and_the_reason_names_it(store: Store, bucket: str) -> None:
    engine = choose_engine(store, bucket, "obstore", 8, ObjectOptions())

    assert engine.name == "obstore"
    assert engine.reason.startswith("obstore 0.")


def test_boto3_sends_where_obstore_is_not_installed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_obstore, "find_spec", lambda _: None)
    engine = choose_engine(store, "bucket", "obstore", 8, ObjectOptions())

    assert engine.name == "boto3"
    assert engine.reason == "boto3 sends: obstore is not installed (pip install 'imagehaul[obstore]')."


def test_boto3_sends_where_obstore_is_too_old(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_obstore, "version", lambda _: "0.9.1")
    engine = choose_engine(store, "bucket", "obstore", 8, ObjectOptions())

    assert (engine.name, engine.reason) == ("boto3", "boto3 sends: obstore is 0.9.1, and 0.12 or newer is needed.")


def test_boto3_sends_where_obstore_s_package_is_broken(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "obstore").mkdir()
    (tmp_path / "obstore/__init__.py").write_text("raise ImportError('GLIBC_2.99 not found')")
    monkeypatch.setattr("imagehaul.transfer.engines.find_obstore", lambda: Obstore(tmp_path, "0.12.1"))
    engine = choose_engine(store, "bucket", "obstore", 8, ObjectOptions())

    assert engine.name == "boto3"
    assert "GLIBC_2.99 not found" in engine.reason
