"""What of a bucket only obstore asks for, as it travels to whoever sends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ObstoreOptions:
    """What was found out of a bucket for obstore, once for all that send by it.

    `crc64`: the store compares bodies with it, and its ETags are MD5s. `address`: as `Store.address` gives it, which
    needs a client of boto3 for it; None = not asked for yet.
    """

    crc64: bool = False
    address: tuple[str, bool] | None = None


NOTHING_FOUND_OUT = ObstoreOptions()
