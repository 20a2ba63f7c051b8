"""What a run does besides sending waits for a store that is away for a while: check, lock, listing, ledger, pointer."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest

from imagehaul.errors import StoreError
from imagehaul.store.clients import TO_CHECK
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from tests.support.fault_proxy import Exchange, FaultProxy

pytestmark = pytest.mark.every_store


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TO_WAIT", "TO_CHECK_AND_WAIT"):
        monkeypatch.setattr(f"imagehaul.store.endpoint.{name}", TO_CHECK._replace(pauses=(0.1, 0.2, 0.3)))


def failing(times: int, fail: Callable[[Exchange], None]) -> tuple[Callable[[Exchange], None], list[int]]:
    """A fault of the first `times` requests, and the numbers of all that came."""
    seen: list[int] = []

    def fault(exchange: Exchange) -> None:
        seen.append(exchange.number)
        if len(seen) <= times:
            fail(exchange)
        else:
            exchange.reply(exchange.forward())

    return fault, seen


@pytest.mark.parametrize("times", [1, 3])
def test_a_check_outlives_resets(store: Store, bucket: str, times: int) -> None:
    fault, seen = failing(times, Exchange.reset)
    with FaultProxy(store, lambda _: fault) as proxy:
        proxy.store.check(bucket, wait=True)
    assert len(seen) == times + 1


def test_a_store_that_stays_away_is_said_in_the_end_and_that_it_is_waited_for_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nowhere = Store("http://127.0.0.1:1", credentials=AccessKey("a", "b"))
    with pytest.raises(StoreError, match="cannot be reached") as refused, caplog.at_level(logging.WARNING):
        nowhere.check("images", wait=True)
    assert refused.value.code == "STORE_UNAVAILABLE"
    assert "It is waited for" in caplog.text


def test_a_host_that_nobody_knows_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(StoreError, match="not known"), caplog.at_level(logging.WARNING):
        Store("http://no.such.host", credentials=AccessKey("a", "b")).check("images", wait=True)
    assert "waited for" not in caplog.text


def test_a_refusal_is_not_asked_for_again(store: Store, bucket: str) -> None:
    fault, seen = failing(0, Exchange.reset)
    with FaultProxy(replace(store, credentials=AccessKey("nobody", "knows")), lambda _: fault) as proxy:
        client = proxy.store.patient_client()
        with pytest.raises(client.exceptions.ClientError, match=r"InvalidAccessKeyId|SignatureDoesNotMatch"):
            client.list_objects_v2(Bucket=bucket)
    assert len(seen) == 1


def test_what_is_not_there_is_not_asked_for_again(store: Store, bucket: str) -> None:
    fault, seen = failing(0, Exchange.reset)
    with FaultProxy(store, lambda _: fault) as proxy:
        client = proxy.store.patient_client()
        with pytest.raises(client.exceptions.ClientError, match="NoSuchKey"):
            client.get_object(Bucket=bucket, Key="current.json")
    assert len(seen) == 1
