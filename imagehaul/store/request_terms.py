"""What each request says of its bucket, who pays for it and whose it must be: said in one place for all that is asked.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/RequesterPaysBuckets.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from imagehaul.bucket_terms import BucketTerms

if TYPE_CHECKING:
    from botocore.model import OperationModel

EVENT = "provide-client-params.s3"
"""botocore's, of each call of any operation, before it is checked and signed."""


def say_terms(terms: BucketTerms) -> Callable[..., None]:
    """A handler of `EVENT`, which puts the terms into whatever takes them."""

    def say(params: dict[str, Any], model: OperationModel, **_: Any) -> None:
        takes = model.input_shape.members if model.input_shape else {}
        source = params.get("CopySource")
        said = {
            "RequestPayer": terms.request_payer,
            "ExpectedBucketOwner": terms.expected_owner if params.get("Bucket") in terms.owned else "",
            "ExpectedSourceBucketOwner": terms.expected_owner if source and source["Bucket"] in terms.owned else "",
        }
        params.update({name: value for name, value in said.items() if value and name in takes})

    return say


def put_headers(terms: BucketTerms, bucket: str) -> dict[str, str]:
    """The same, for a PUT that goes without boto3."""
    owner = terms.expected_owner if bucket in terms.owned else ""
    said = {"x-amz-request-payer": terms.request_payer, "x-amz-expected-bucket-owner": owner}
    return {name: value for name, value in said.items() if value}
