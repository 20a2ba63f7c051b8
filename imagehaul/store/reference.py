"""How a job names its object store without a key. `resolving.py` makes the store of it."""

from __future__ import annotations

from dataclasses import dataclass

from imagehaul.bucket_terms import NO_TERMS, BucketTerms


@dataclass(frozen=True, slots=True)
class StoreReference:
    """`kind` "environment": as this process's own environment and files say, at the URL `name` ("" is AWS).

    Any other kind is a resolver's, which is given `name`: "block", a saved block's name. `terms`: as `Store` has them.
    """

    kind: str = "environment"
    name: str = ""
    terms: BucketTerms = NO_TERMS

    def __str__(self) -> str:
        return f"the keys of its own environment, at {self.name or 'AWS'}" if self.kind == "environment" else self.name
