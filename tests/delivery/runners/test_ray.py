"""Batches on a Ray cluster that the run starts for itself. `make test-ray` installs Ray, which is large."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagehaul.delivery.runners.registry import open_runner
from imagehaul.errors import HaulError
from imagehaul.store.endpoint import Store
from imagehaul.store.reference import StoreReference
from tests.support.delivering import Target, draw

pytest.importorskip("ray", reason="make test-ray installs it")

SETTINGS: dict[str, Any] = {"task_runner": "ray", "batch_size": 5}


@pytest.fixture
def target(store: Store, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    keys = store.keys()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret_key)
    return Target(replace(store, reference=StoreReference("environment", store.url)), bucket)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    folder = tmp_path / "many"
    for number in range(40):
        draw(folder / f"{number:02}.jpg", seed=number)
    return folder


def test_ray_leaves_the_same_store_and_ledger_as_this_process(many: Path, target: Target) -> None:
    (many / "broken.jpg").write_bytes(b"no picture")
    here = replace(target, prefix="here/")
    expected = here.deliver(many, settings={"batch_size": 5})
    summary = target.deliver(many, settings=SETTINGS, open_runner=open_runner)
    assert (summary.counts, summary.runner, summary.engine) == (expected.counts, "ray", expected.engine)
    assert target.stored() == here.stored()
    columns = ("source_path", "kind", "status", "code", "md5", "sha256", "etag", "proof", "width", "height")
    rows = [[row[name] for name in columns] for row in target.ledger()]
    assert rows == [[row[name] for name in columns] for row in here.ledger()]


def test_a_cluster_that_is_not_there_is_a_sentence(many: Path, target: Target) -> None:
    settings = {**SETTINGS, "task_runner_address": "127.0.0.1:1"}
    with pytest.raises(HaulError, match=r"No Ray cluster answers at 127\.0\.0\.1:1"):
        target.deliver(many, settings=settings, open_runner=open_runner)
    assert target.listed("images/") == []


def test_keys_that_only_this_process_has_are_refused(many: Path, target: Target) -> None:
    with pytest.raises(HaulError, match="Save the store as a block"):
        replace(target, store=replace(target.store, reference=None)).deliver(
            many, settings=SETTINGS, open_runner=open_runner
        )
