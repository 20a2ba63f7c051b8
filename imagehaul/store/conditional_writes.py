"""What a store makes of a conditional PUT, found out once at the start of a run and used by lock and pointer alike.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html is how AWS has it. Others differ:
Ceph takes an ETag without its quotes only, and in a bucket with versions it refuses every `If-Match`; Swift answers
501; some take no notice. A refusal therefore says nothing by itself: who gets one looks at what lies there.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from imagehaul.store.errors import is_missing

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ATTEMPTS = 20
_PAUSE = 0.1
_NO_SUCH_ETAG = '"00000000000000000000000000000000"'
_UNKNOWN_HERE = ("InvalidArgument", "InvalidRequest", "NotImplemented")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """`if_match`: how an ETag is written for the store to let a right condition through, and refuse a wrong one.

    `if_none_match`: whether `If-None-Match: *` is refused where the key exists.
    """

    if_match: Literal["quoted", "bare", "none"] = "quoted"
    if_none_match: bool = True

    @property
    def conditional_writes(self) -> str:
        """In words, for the report."""
        words = {"quoted": "yes", "bare": "yes, without quotes"}
        return words.get(self.if_match, "for new keys only" if self.if_none_match else "no")

    @property
    def exclusive(self) -> bool:
        """Whether one of two writers over the same object is always refused."""
        return self.if_match != "none"

    def condition(self, etag: str) -> dict[str, Any]:
        """boto3's parameters for a PUT over the object of that ETag, "" = over none; {}: the store has no such."""
        if not etag:
            return {"IfNoneMatch": "*"} if self.if_none_match else {}
        return {"quoted": {"IfMatch": etag}, "bare": {"IfMatch": etag.strip('"')}, "none": {}}[self.if_match]


def put_if(client: S3Client, condition: Mapping[str, Any], **request: Any) -> str:
    """A PUT under a condition of `Capabilities.condition`. The new ETag; "" where the store refuses the condition.

    The refusal is no proof that the condition was not met: look. Raises what else the client raises.
    """
    attempt = 0
    while True:
        try:
            return client.put_object(**request, **condition)["ETag"]
        except client.exceptions.ClientError as error:
            code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
            unknown = status == 501 or code in _UNKNOWN_HERE
            if condition and (status == 412 or unknown or ("IfMatch" in condition and is_missing(error))):
                return ""
            attempt += 1
            if status != 409 or attempt == _ATTEMPTS:
                raise
            time.sleep(_PAUSE)  # Somebody writes in this very moment, and nothing is decided yet.


def find_capabilities(client: S3Client, request: dict[str, Any]) -> Capabilities:
    """Tries right and wrong conditions on an object that is not there yet. `request`: a `put_object` that makes it.

    Raises what the client raises.
    """
    new = Capabilities().condition("")
    # Of a first attempt whose answer was lost, the second one meets the object: it is refused, and there it is.
    etag = put_if(client, new, **request) or _etag_of_own(client, request)
    knows_new = bool(etag) and not put_if(client, new, **request)
    etag = etag or put_if(client, {}, **request)
    for found in (Capabilities("quoted", knows_new), Capabilities("bare", knows_new)):
        if put_if(client, found.condition(etag), **request):
            takes_any = put_if(client, found.condition(_NO_SUCH_ETAG), **request)
            return Capabilities("none", knows_new) if takes_any else found
    return Capabilities("none", knows_new)


def _etag_of_own(client: S3Client, request: dict[str, Any]) -> str:
    """The ETag of the object that `request` makes, where it is there; "" where there is none or another, or who knows.

    By a GET: to a HEAD Swift answers 404 with a body, after which a client's next request may fail.
    """
    try:
        there = client.get_object(Bucket=request["Bucket"], Key=request["Key"])
    except client.exceptions.ClientError:
        return ""
    return there["ETag"] if there["Body"].read() == request["Body"] else ""


def md5_header(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
