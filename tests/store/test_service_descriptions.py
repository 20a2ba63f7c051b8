"""What a client is made from is what botocore itself would read."""

from __future__ import annotations

import pytest
from botocore.loaders import Loader

from imagehaul.store.service_descriptions import service_descriptions


def both() -> tuple[Loader, Loader]:
    """New ones: botocore changes what it has read when it makes a client."""
    return service_descriptions.__wrapped__(), Loader()


@pytest.mark.parametrize("kind", ["service-2", "paginators-1", "endpoint-rule-set-1"])
def test_a_description_is_botocore_s_own_in_the_same_order(kind: str) -> None:
    ours, theirs = (loader.load_service_model("s3", kind) for loader in both())
    assert ours == theirs
    assert list(ours) == list(theirs)


@pytest.mark.parametrize("service", ["s3", "sts"])
def test_the_services_that_clients_are_made_for_are_known(service: str) -> None:
    ours, theirs = both()
    assert ours.load_service_model(service, "service-2") == theirs.load_service_model(service, "service-2")


def test_what_all_services_share_is_botocore_s_own() -> None:
    ours, theirs = both()
    for name in ("endpoints", "partitions", "_retry", "sdk-default-configuration"):
        assert ours.load_data(name) == theirs.load_data(name)
