"""The real server, made to answer conditional writes as others were seen to."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest

from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store

Manner = Literal["as it is", "ignores", "ignores If-Match", "ignores If-None-Match", "unknown", "bare", "versioned"]
MANNERS: tuple[Manner, ...] = (
    "as it is",
    "ignores",
    "ignores If-Match",
    "ignores If-None-Match",
    "unknown",
    "bare",
    "versioned",
)
EXCLUSIVE: tuple[Manner, ...] = ("as it is", "bare")
"""Where one of two writers is always refused, over a new lock too."""
AS_IT_IS_AND_OTHERWISE = [
    pytest.param(manner, marks=() if manner == "as it is" else pytest.mark.needs("conditional writes"))
    for manner in MANNERS
]
"""Each store as it is; and one that has conditional writes, as others."""


def store_in_manner(store: Store, manner: Manner) -> Store:
    """`unknown`: 501, as Swift. `bare`: quoted ETags are refused, as by Ceph. `versioned`: every `If-Match` is refused
    and `If-None-Match` has no effect, as by Ceph in a bucket with versions.
    """
    changed = fresh_store(store)

    def refuse(code: str, status: int) -> None:
        answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise changed.client().exceptions.ClientError(answer, "PutObject")

    def answer(params: dict[str, Any], **_: object) -> None:
        headers = params["headers"]
        match, new = headers.get("If-Match", ""), "If-None-Match" in headers
        if manner == "unknown" and (match or new):
            refuse("NotImplemented", 501)
        if (manner == "bare" and match.startswith('"')) or (manner == "versioned" and match):
            refuse("PreconditionFailed", 412)
        if manner == "bare" and match:
            headers["If-Match"] = f'"{match}"'
        if manner in ("ignores", "ignores If-Match"):
            headers.pop("If-Match", None)
        if manner in ("ignores", "ignores If-None-Match", "versioned"):
            headers.pop("If-None-Match", None)

    for client in (changed.client(), changed.patient_client()):
        client.meta.events.register("before-call.s3.PutObject", answer)
    return changed


@dataclass(frozen=True, slots=True)
class FreshKey(AccessKey):
    """The same pair of keys, and another value: what is made of a store is made once for each value."""

    number: str = field(default_factory=lambda: uuid.uuid4().hex)


def fresh_store(store: Store) -> Store:
    """The same store, with clients that a test may change."""
    assert isinstance(store.credentials, AccessKey)
    return replace(store, credentials=FreshKey(store.credentials.access_key, store.credentials.secret_key))
