"""Bytes on the way: a bit that flips is refused or found, never delivered; large files arrive whole.

The oracle is a plain boto3 client at the real store, behind the proxy that flips.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from imagehaul.records import PART_SIZE, EngineName
from tests.support.delivering import Target, draw
from tests.support.fault_proxy import Exchange, Fault, FaultProxy, flipped, flips_on_the_way
from tests.support.sending import plain_client, stored

IMAGES = 12
ENGINES = pytest.mark.parametrize("engine", get_args(EngineName))
Choose = Callable[[Exchange], Fault | None]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(IMAGES):
        draw(tmp_path / "source" / f"{number:02d}.jpg", seed=number)
    return tmp_path / "source"


def with_a_tail(file: Path, size: int) -> str:
    """A picture of so many bytes. Returns its SHA-256."""
    picture = draw(file)
    file.write_bytes(picture + os.urandom(size - len(picture)))
    return hashlib.sha256(file.read_bytes()).hexdigest()


def sha256_in_store(target: Target, key: str) -> str:
    digest = hashlib.sha256()
    body = plain_client(target.store).get_object(Bucket=target.bucket, Key=target.root + key)["Body"]
    for chunk in body.iter_chunks(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


@pytest.mark.parametrize("engine", ["s5cmd", pytest.param("boto3", marks=pytest.mark.attack)])
def test_a_bit_that_flips_on_the_way_once_costs_an_attempt(engine: str, target: Target, source: Path) -> None:
    """At the first attempt of every third object."""
    attempts: Counter[str] = Counter()

    def choose(exchange: Exchange) -> Fault | None:
        attempts[exchange.key] += exchange.sends
        return flips_on_the_way if attempts[exchange.key] == 1 and len(attempts) % 3 == 0 and exchange.sends else None

    with FaultProxy(target.store, choose) as proxy:
        summary = replace(target, store=proxy.store).deliver(source, settings={"transfer_engine": engine})
        assert proxy.hit >= IMAGES // 3
        proxy.store.renew()
    assert (summary.counts.delivered, summary.exit_status) == (IMAGES, 0)
    there = stored(target.store, target.bucket)
    for file in source.iterdir():
        assert there[f"{target.root}images/{file.name}"] == file.read_bytes()


@pytest.mark.attack
@ENGINES
@pytest.mark.usefixtures("impatient")
def test_bits_of_one_object_that_flip_at_every_attempt(engine: str, target: Target, source: Path) -> None:
    def choose(exchange: Exchange) -> Fault | None:
        return flips_on_the_way if exchange.sends and exchange.key.endswith("images/03.jpg") else None

    with FaultProxy(target.store, choose) as proxy:
        summary = replace(target, store=proxy.store).deliver(source, settings={"transfer_engine": engine})
        assert proxy.hit > 1
        proxy.store.renew()
    assert (summary.counts.failed, summary.published, summary.exit_status) == (1, False, 1)
    there = stored(target.store, target.bucket)
    assert f"{target.root}images/03.jpg" not in there, "What is damaged is not there at all."


@pytest.mark.attack
@ENGINES
def test_a_store_that_keeps_other_bytes_than_it_was_given_is_found(engine: str, target: Target, source: Path) -> None:
    """It takes the object, says that all is well, and has another one: no sender can know."""
    client = plain_client(target.store)

    def spoils(exchange: Exchange) -> None:
        said = exchange.forward()
        client.put_object(Bucket=target.bucket, Key=exchange.key, Body=flipped(exchange.body))
        exchange.reply(said)

    def choose(exchange: Exchange) -> Fault | None:
        return spoils if exchange.sends and exchange.key.endswith(("images/03.jpg", "thumbnails/05.jpg.jpg")) else None

    settings = {"transfer_engine": engine}
    with FaultProxy(target.store, choose) as proxy:
        summary = replace(target, store=proxy.store).deliver(source, settings=settings)
        assert proxy.hit >= 2
        proxy.store.renew()
    assert (summary.counts.failed, summary.published, summary.exit_status) == (2, False, 1)
    rows = {row["key"].removeprefix(target.root): row["code"] for row in target.ledger(summary.run) if row["code"]}
    assert rows == {
        "images/03.jpg": "NOT_PROVEN", "thumbnails/05.jpg.jpg": "NOT_PROVEN", "images/05.jpg": "RENDITION_FAILED",
    }  # fmt: skip
    again = target.deliver(source, settings=settings)
    assert (again.counts.objects, again.exit_status) == (2, 0)
    assert target.read("images/03.jpg") == (source / "03.jpg").read_bytes()


@pytest.mark.attack
@ENGINES
def test_large_files_arrive_byte_for_byte(engine: str, target: Target, tmp_path: Path) -> None:
    """Around the size of a part, around twice that, and 130 MB; in one of them a bit flips on the way in one part."""
    sizes = (PART_SIZE - 1, PART_SIZE, PART_SIZE + 1, 2 * PART_SIZE, 2 * PART_SIZE + 1, 130_000_000)
    expected = {f"{size}.jpg": with_a_tail(tmp_path / "source" / f"{size}.jpg", size) for size in sizes}
    flips: list[str] = []

    def choose(exchange: Exchange) -> Fault | None:
        second_part = exchange.sends and exchange.query.get("partNumber") == ["2"]
        if second_part and exchange.key.endswith("130000000.jpg") and not flips:
            flips.append(exchange.key)
            return flips_on_the_way
        return None

    settings = {"transfer_engine": engine, "workers": 1}
    with FaultProxy(target.store, choose) as proxy:
        summary = replace(target, store=proxy.store).deliver(tmp_path / "source", settings=settings)
        proxy.store.renew()
    assert flips
    if summary.exit_status:
        # Named, and not delivered: the next run sends it.
        assert summary.counts.failed == 1
        assert "images/130000000.jpg" not in target.listed("images/")
        summary = target.deliver(tmp_path / "source", settings=settings)
    assert summary.exit_status == 0, summary.reasons
    assert {name: sha256_in_store(target, f"images/{name}") for name in expected} == expected
    parts = {name: target.head(f"images/{name}")["ETag"].strip('"').partition("-")[2] for name in expected}
    assert list(parts.values()) == ["", "", "2", "2", "3", "3"]
    assert target.deliver(tmp_path / "source", settings=settings).nothing_changed
