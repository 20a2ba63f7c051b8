"""What a client of a store looks like, for boto3 and for s3fs: the same settings, and none from elsewhere."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from imagehaul.bucket_terms import BucketTerms
from imagehaul.errors import Code
from imagehaul.store import request_terms
from imagehaul.store.ca import authority_file
from imagehaul.store.credentials import RenewableCredentials, isolated_session, isolated_variables
from imagehaul.store.errors import classify
from imagehaul.store.explanations import reported_words
from imagehaul.store.listing_xml import read_contents
from imagehaul.store.proxies import proxies_for
from imagehaul.store.service_descriptions import service_descriptions
from imagehaul.version import software

if TYPE_CHECKING:
    from boto3 import Session
    from botocore.credentials import ReadOnlyCredentials
    from mypy_boto3_s3 import S3Client
    from s3fs import S3FileSystem


_LOG = logging.getLogger(__name__)


WHO_ASKS = software().replace(" ", "/")
"""In a store's access log. botocore would put its own together anew for each request: a sixth of an upload's time."""

CONNECTIONS = 1100
"""None is opened before it is needed, and TRANSFER_WORKERS is at most 1,024."""


class ClientPatience(NamedTuple):
    """How long a client waits for a connection and for the next byte, in seconds, and how often it tries in all.

    `connections`: how many may be kept open; as many places are made at once.
    `pauses`: the longest wait in seconds before each further attempt, after those that botocore makes by itself
    within seconds: an outage of half a minute, or a store that starts anew, is waited for.
    """

    connect: float = 10
    read: float = 60
    attempts: int = 3
    connections: int = CONNECTIONS
    pauses: tuple[float, ...] = ()


TO_WORK = ClientPatience()
TO_WAIT = ClientPatience(attempts=1, pauses=(1.0, 4.0, 16.0, 64.0))
TO_CHECK = ClientPatience(connect=5, read=8, attempts=1, connections=1)
TO_CHECK_AND_WAIT = TO_CHECK._replace(pauses=(1.0, 4.0, 16.0, 16.0))
"""Half a minute: nothing was reached yet, and it may be the URL that is wrong."""


class StoreAddress(Protocol):
    """What a client has to know of a `Store` (`endpoint.py`), which makes the clients."""

    @property
    def url(self) -> str: ...

    @property
    def endpoint(self) -> str: ...

    @property
    def region(self) -> str: ...

    @property
    def addressing(self) -> str: ...

    @property
    def ca(self) -> str: ...

    @property
    def terms(self) -> BucketTerms: ...


def boto3_session(credentials: RenewableCredentials) -> Session:
    """What the clients of one store are made of: most of the work on the first one, so that others cost a third."""
    import boto3

    return boto3.Session(botocore_session=isolated_session(credentials))


def boto3_client(
    store: StoreAddress, session: Session, credentials: RenewableCredentials, patience: ClientPatience = TO_WORK
) -> S3Client:
    """`session`: of these credentials. Threads must not make clients of one session at the same time."""
    from botocore.config import Config

    client: S3Client = session.client(
        "s3",
        endpoint_url=store.url or None,
        verify=authority_file(store.ca),
        config=Config(**_settings(store, patience)),
    )
    client.meta.events.register(request_terms.EVENT, request_terms.say_terms(store.terms))
    client.meta.events.register("before-call.s3", _stay_in_region)
    # With "*", so that it comes before botocore's own handler of `before-parse.s3.*`, which parses the whole of a page
    # once more to see whether it is an error.
    client.meta.events.register("before-parse.*.ListObjectsV2", read_contents)

    def renew_expired(response: tuple[Any, dict[str, Any]] | None, attempts: int, **_: Any) -> int | None:
        """Has a request whose keys had run out signed and sent once more, after 0 seconds, with new keys."""
        code = response[1].get("Error", {}).get("Code", "") if response else ""
        if attempts > 1 or classify(str(code)).code != Code.CREDENTIALS_EXPIRED:
            return None
        credentials.renew()
        return 0

    if patience.pauses:
        client.meta.events.register_first("needs-retry.s3", cast(Any, _Waiting(patience.pauses, store.url or "AWS")))
    client.meta.events.register_first("needs-retry.s3", cast(Any, renew_expired))
    return client


class _Waiting:
    """Has a request that may succeed later sent again after a pause: a handler of botocore's event `needs-retry`."""

    def __init__(self, pauses: tuple[float, ...], where: str) -> None:
        self._pauses, self._where = pauses, where

    def __call__(
        self,
        response: tuple[Any, dict[str, Any]] | None,
        caught_exception: Exception | None,
        attempts: int,
        **_: Any,
    ) -> float | None:
        from botocore.exceptions import ClientError

        if response and response[0].status_code < 300:
            return None
        problem = caught_exception or (ClientError(cast(Any, response[1]), "") if response else None)
        if problem is None or attempts > len(self._pauses) or not _is_passing(problem):
            return None
        # Half of it at random, so that runs do not come back together.
        pause = self._pauses[attempts - 1] * random.uniform(0.5, 1.0)
        if attempts == 2:
            left = sum(self._pauses[1:])
            _LOG.warning(
                "The store at %s: %s. It is waited for, up to %.0f s.", self._where, reported_words(problem), left
            )
        return pause


def _is_passing(problem: Exception) -> bool:
    """Whether the same request may be answered later. A name that nobody knows is a wrong URL."""
    try:
        verdict = classify(problem)
    except Exception:
        return False  # no error of the store's
    said = reported_words(problem)
    unknown_name = any(words in said for words in ("Name or service not known", "nodename nor servname"))
    later = verdict.code in (Code.STORE_BUSY, Code.STORE_UNAVAILABLE) and verdict.reported not in _DECIDED
    return verdict.action == "retry" and later and not unknown_name


_DECIDED = ("NoSuchUpload", "ConditionalRequestConflict", "OperationAborted", "BadDigest")
"""Another pause makes nothing of these better; for the conflicts `put_if` has shorter ones."""


def s3fs_filesystem(store: StoreAddress, credentials: RenewableCredentials) -> S3FileSystem:
    """With the settings that `boto3_client` has. It remembers no listing."""
    import asyncio

    from aiobotocore.credentials import AioCredentials
    from aiobotocore.session import AioSession
    from s3fs import S3FileSystem

    async def renewed() -> ReadOnlyCredentials:
        return await asyncio.to_thread(credentials.get_frozen_credentials)  # A renewal blocks.

    asynchronous = AioCredentials("", "", method=credentials.method)
    asynchronous.get_frozen_credentials = renewed
    session = AioSession(session_vars=isolated_variables(AioSession))
    session.register_component("credential_provider", _Given(asynchronous))
    session.register_component("data_loader", service_descriptions())
    session.register(request_terms.EVENT, request_terms.say_terms(store.terms))
    return S3FileSystem(
        session=session,
        endpoint_url=store.url or None,
        client_kwargs={"verify": authority_file(store.ca)},
        config_kwargs=_settings(store, TO_WORK._replace(connections=16)),
        use_listings_cache=False,
        skip_instance_cache=True,
        # fsspec fills in what is not said from variables such as FSSPEC_S3_KEY.
        anon=False,
        key=None,
        secret=None,
        token=None,
        username=None,
        password=None,
        use_ssl=True,
    )


def _settings(store: StoreAddress, patience: ClientPatience) -> dict[str, Any]:
    """What the two have in common, as botocore's `Config` takes it."""
    return {
        "region_name": store.region,
        "proxies": proxies_for(store.endpoint),
        "signature_version": "s3v4",
        "connect_timeout": patience.connect,
        "read_timeout": patience.read,
        "max_pool_connections": patience.connections,
        "user_agent": WHO_ASKS,
        # The engines retry by themselves, and longer.
        "retries": {"mode": "standard", "total_max_attempts": patience.attempts},
        "tcp_keepalive": True,
        # Older stores keep the checksum's framing in the object, or refuse it; the engines send MD5 instead.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        "s3": {"addressing_style": store.addressing, "payload_signing_enabled": False},
    }


class _Given:
    """Stands where aiobotocore would look for keys."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    async def load_credentials(self) -> Any:
        return self._credentials


def _stay_in_region(context: dict[str, Any], **_: Any) -> None:
    """Marks a request as redirected already, so that boto3 follows no store to another region.

    s5cmd would not either; and where every answer is a redirect, boto3 would follow for ever.
    """
    context.setdefault("s3_redirect", {})["redirected"] = True
