"""A data set that is attacked on its way into the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagehaul.store.endpoint import Store
from tests.support.attacking import IMAGES, Attack
from tests.support.delivering import Target, draw
from tests.support.fault_proxy import (
    FaultProxy,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(IMAGES):
        draw(tmp_path / "source" / f"f{number % 3}" / f"{number:02d}.jpg", seed=number)
    return tmp_path / "source"


@pytest.fixture
def attack(store: Store, bucket: str, source: Path, engine: str) -> Iterator[Attack]:
    with FaultProxy(store) as proxy:
        yield Attack(proxy, Target(proxy.store, bucket), Target(store, bucket), source, engine)
        proxy.store.renew()  # its clients go
