"""One small object in one request, by botocore's signer and connections alone.

boto3 checks each request against its model of S3, works out its endpoint by rules, and asks forty handlers: two
milliseconds for an upload that its own parts sign and send in less than one. Here is one attempt, and its answer:
what may go better the next time, or with other keys, is boto3's to try again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from imagehaul.errors import Code
from imagehaul.store import clients as store_clients
from imagehaul.store.ca import authority_file
from imagehaul.store.clients import CONNECTIONS, WHO_ASKS, StoreAddress
from imagehaul.store.credentials import RenewableCredentials
from imagehaul.store.errors import classify
from imagehaul.store.proxies import proxies_for
from imagehaul.store.request_terms import put_headers

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client


_AS_BOTOCORE = "/~"
"""What stays as it is in a key's path: https://github.com/boto/botocore/blob/develop/botocore/utils.py."""

_NOT_FOR_GOOD = {Code.CREDENTIALS_EXPIRED, Code.WRONG_REGION}


class PlainPut:
    """For one bucket; threads share it."""

    def __init__(self, store: StoreAddress, client: S3Client, credentials: RenewableCredentials, bucket: str) -> None:
        from botocore.httpsession import URLLib3Session

        self._base = bucket_url(client, bucket)
        self._region = store.region
        self._terms = put_headers(store.terms, bucket)
        self._credentials = credentials
        # It says that the body is not signed: its MD5 is, which the store compares.
        self._context = {"client_config": client.meta.config}
        # Its types know neither a file of CAs nor two timeouts.
        self._connections = cast(Any, URLLib3Session)(
            verify=authority_file(store.ca),
            proxies=proxies_for(self._base),
            timeout=(store_clients.TO_WORK.connect, store_clients.TO_WORK.read),
            max_pool_connections=CONNECTIONS,
        )

    def send(self, key: str, body: bytes, headers: dict[str, str]) -> bool:
        """Whether the store has taken it; False is worth another try.

        Raises ClientError, as boto3 does, for what is refused for good, and what reading the keys raises.
        """
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import ConnectionError, HTTPClientError

        request = AWSRequest(
            "PUT",
            f"{self._base}{quote(key, safe=_AS_BOTOCORE)}",
            headers={**headers, **self._terms, "User-Agent": WHO_ASKS},
            data=body,
        )
        request.context.update(self._context)
        S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", self._region).add_auth(request)
        try:
            answer = self._connections.send(request.prepare())
        except (ConnectionError, HTTPClientError):
            return False
        if answer.status_code == 200:
            return True
        if refusal := _refusal(answer):
            raise refusal
        return False


class _NotSentError(Exception):
    """The address of a request that is not sent."""


def bucket_url(client: S3Client, bucket: str) -> str:
    """What comes before a key, by path or by host as boto3 itself would have it."""

    def stop(request: AWSPreparedRequest, **_: Any) -> None:
        raise _NotSentError(request.url)

    # Nothing else here asks for a bucket's head.
    client.meta.events.register("before-send.s3.HeadBucket", stop)
    try:
        client.head_bucket(Bucket=bucket)
    except _NotSentError as asked:
        return f"{str(asked).rstrip('/')}/"
    finally:
        client.meta.events.unregister("before-send.s3.HeadBucket", stop)
    raise AssertionError("botocore sent a request in spite of its handler.")


def _refusal(answer: AWSResponse) -> ClientError | None:
    from botocore.exceptions import ClientError
    from botocore.parsers import ResponseParserError, create_parser

    said = {"status_code": answer.status_code, "headers": answer.headers, "body": answer.content, "context": {}}
    try:
        # An error is parsed without a shape.
        error = ClientError(cast(Any, create_parser("rest-xml")).parse(said, None), "PutObject")
    except ResponseParserError:
        return None
    verdict = classify(error)
    return None if verdict.action == "retry" or verdict.code in _NOT_FOR_GOOD else error
