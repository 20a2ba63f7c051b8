"""Who pays for a request, and whose its bucket must be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BucketTerms:
    """What each request says of the bucket that it goes to; "" says nothing.

    `request_payer`: "requester" = whoever asks pays, which stores ignore where the owner pays. `expected_owner`: the
    account that `owned` belong to, the buckets that are written to; a store refuses the request where it is another.
    """

    request_payer: str = ""
    expected_owner: str = ""
    owned: tuple[str, ...] = ()


NO_TERMS = BucketTerms()
