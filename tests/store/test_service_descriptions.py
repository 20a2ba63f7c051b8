"""What a client is made from is what botocore itself would read."""

from __future__ import annotations

import pytest
from botocore.loaders import Loader

from imagehaul.store.service_descriptions import service_descriptions


@pytest.mark.parametrize("kind", ["service-2", "paginators-1", "endpoint-rule-set-1"])
def test_a_description_is_botocore_s_own_in_the_same_order(kind: str) -> None:
    ours, theirs = (loader.load_service_model("s3", kind) for loader in (service_descriptions(), Loader()))
    assert ours == theirs
    assert list(ours) == list(theirs)


def test_what_all_services_share_is_botocore_s_own() -> None:
    ours, theirs = service_descriptions(), Loader()
    for name in ("endpoints", "partitions", "_retry", "sdk-default-configuration"):
        assert ours.load_data(name) == theirs.load_data(name)
