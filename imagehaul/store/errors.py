"""What a store's error means, decided once: stop the run, try again, or give up this one object.

Three things speak of the same errors: boto3 by exceptions, s3fs by Python's own errors with boto3's as
their cause, and s5cmd by a line of text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from imagehaul.errors import Code, StoreError

Action = Literal["stop", "retry", "reject", "fail"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`action`: stop the whole run, retry with backoff, reject (it lies in the object itself), or fail it.

    `reported` is the store's own word for it.
    A stop with CREDENTIALS_EXPIRED is worth one `Store.renew()` first.
    """

    action: Action
    code: Code
    reported: str = ""

    @property
    def may_be_of_one_object(self) -> bool:
        """A stop that other objects may be spared: a policy can deny a prefix, and so can a key's own rights."""
        return self.code == Code.ACCESS_DENIED and self.reported in ("AccessDenied", "AccessDeniedException", "403")


_TABLE: dict[tuple[Action, Code], str] = {
    ("stop", Code.ACCESS_DENIED): """
        AccessDenied AccessDeniedException AllAccessDisabled AccountProblem Forbidden InvalidAccessKeyId
        InvalidClientTokenId InvalidSecurity InvalidToken NotSignedUp SignatureDoesNotMatch UnauthorizedAccess
        UnrecognizedClientException Unauthorized MissingSecurityHeader MissingAuthenticationToken
        NoCredentialProviders""",
    ("stop", Code.CREDENTIALS_EXPIRED): "ExpiredToken ExpiredTokenException TokenRefreshRequired RequestExpired",
    ("stop", Code.CLOCK_SKEWED): "RequestTimeTooSkewed RequestInTheFuture",
    ("stop", Code.BUCKET_MISSING): "NoSuchBucket InvalidBucketName",
    ("stop", Code.WRONG_REGION): """
        PermanentRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException BucketRegionError""",
    ("stop", Code.STORE_FULL): """
        QuotaExceeded XMinioStorageFull XMinioAdminBucketQuotaExceeded
        InsufficientStorage""",
    ("retry", Code.STORE_BUSY): """
        SlowDown SlowDownRead SlowDownWrite ServiceUnavailable InternalError InternalServerError RequestTimeout
        RequestTimeoutException OperationAborted ConditionalRequestConflict Throttling ThrottlingException
        ThrottledException RequestThrottled RequestThrottledException RequestLimitExceeded TooManyRequests
        TooManyRequestsException BandwidthLimitExceeded PriorRequestNotComplete TransactionInProgressException
        BadGateway GatewayTimeout ServerBusy Busy TemporaryRedirect NoSuchUpload IncompleteBody BadDigest
        XAmzContentSHA256Mismatch XAmzContentChecksumMismatch XMinioServerNotInitialized XMinioReadQuorum
        XMinioWriteQuorum XMinioBackendDown""",
    ("reject", Code.KEY_TOO_LONG): "KeyTooLongError KeyTooLong",
    ("reject", Code.STORE_REFUSED): """
        EntityTooLarge InvalidURI InvalidObjectName XMinioInvalidObjectName XMinioInvalidResourceName
        XMinioObjectExistsAsDirectory XMinioParentIsObject""",
    ("reject", Code.SOURCE_GONE): "NoSuchKey NoSuchVersion",
    ("reject", Code.SOURCE_CHANGED): "PreconditionFailed",
    ("reject", Code.SOURCE_ARCHIVED): "InvalidObjectState",
}  # fmt: skip
"""What is not here, and no 5xx, is an object that the store refuses: fail, STORE_REFUSED.
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList and MinIO's cmd/api-errors.go.
`NoSuchKey` and `PreconditionFailed` can only come of an image that is read or copied from a store."""

_BY_CODE = {word: Verdict(*key, word) for key, words in _TABLE.items() for word in words.split()}

_BY_STATUS = {
    **{status: Verdict("stop", Code.WRONG_REGION, status) for status in ("301", "302", "307", "308")},
    "401": Verdict("stop", Code.ACCESS_DENIED, "401"),
    "403": Verdict("stop", Code.ACCESS_DENIED, "403"),
    "404": Verdict("reject", Code.SOURCE_GONE, "404"),
    "408": Verdict("retry", Code.STORE_BUSY, "408"),
    "412": Verdict("reject", Code.SOURCE_CHANGED, "412"),
    "413": Verdict("fail", Code.STORE_REFUSED, "413"),
    "429": Verdict("retry", Code.STORE_BUSY, "429"),
    "501": Verdict("fail", Code.STORE_REFUSED, "501"),
    "507": Verdict("stop", Code.STORE_FULL, "507"),
}
"""Where the store says no more than a status: the answer to a HEAD has no body."""

_BY_EXCEPTION: dict[str, tuple[Action, Code]] = {
    # botocore's, by name, so that nobody pays for its import.
    "SSLError": ("stop", Code.CERTIFICATE),
    "NoCredentialsError": ("stop", Code.ACCESS_DENIED),
    "PartialCredentialsError": ("stop", Code.ACCESS_DENIED),
    "ProfileNotFound": ("stop", Code.ACCESS_DENIED),
    "ConfigParseError": ("stop", Code.ACCESS_DENIED),
    "InvalidConfigError": ("stop", Code.ACCESS_DENIED),
    "InfiniteLoopConfigError": ("stop", Code.ACCESS_DENIED),
    "CredentialRetrievalError": ("stop", Code.ACCESS_DENIED),
    "MetadataRetrievalError": ("stop", Code.ACCESS_DENIED),
    "UnauthorizedSSOTokenError": ("stop", Code.CREDENTIALS_EXPIRED),
    "SSOError": ("stop", Code.CREDENTIALS_EXPIRED),
    "TokenRetrievalError": ("stop", Code.CREDENTIALS_EXPIRED),
    "ParamValidationError": ("reject", Code.STORE_REFUSED),
    "IncompleteReadError": ("retry", Code.STORE_UNAVAILABLE),
    "HTTPClientError": ("retry", Code.STORE_UNAVAILABLE),
    "BotoCoreError": ("fail", Code.STORE_REFUSED),
    # Python's own, urllib3's and aiohttp's, which come through while a body is read.
    "ConnectionError": ("retry", Code.STORE_UNAVAILABLE),
    "TimeoutError": ("retry", Code.STORE_UNAVAILABLE),
    "HTTPError": ("retry", Code.STORE_UNAVAILABLE),
    "ClientConnectionError": ("retry", Code.STORE_UNAVAILABLE),
    "ClientPayloadError": ("retry", Code.STORE_UNAVAILABLE),
}

_BY_PART: tuple[tuple[str, Action, Code], ...] = (
    # s5cmd's (Go's) where no code of S3 stands in the line.
    ("x509: ", "stop", Code.CERTIFICATE),
    ("first record does not look like a TLS handshake", "stop", Code.CERTIFICATE),
    ("LoadCustomCABundleError", "stop", Code.CERTIFICATE),
    ("server gave HTTP response to HTTPS client", "stop", Code.CERTIFICATE),
    ("RequestError", "retry", Code.STORE_UNAVAILABLE),
    ("RequestCanceled", "retry", Code.STORE_UNAVAILABLE),
    ("connection re", "retry", Code.STORE_UNAVAILABLE),
    ("i/o timeout", "retry", Code.STORE_UNAVAILABLE),
    ("given object ", "reject", Code.SOURCE_GONE),
    ("no such file or directory", "reject", Code.SOURCE_GONE),
    ("permission denied", "reject", Code.UNREADABLE),
    ("too many open files", "retry", Code.MACHINE_BUSY),
    ("cannot allocate memory", "retry", Code.MACHINE_BUSY),
)

_UNTRUSTED = re.compile(r"certificate|match|WRONG_VERSION_NUMBER|HTTP_REQUEST|No such file", re.IGNORECASE)
_GO_CODE = re.compile(r"\b([A-Z][A-Za-z0-9]+): ")
_GO_OWN = ("SerializationError", "UnmarshalError")
"""s5cmd's words for an answer that is no XML: the status says more."""
_GO_STATUS = re.compile(r"status code: (\d{3})")


def classify(problem: str | BaseException) -> Verdict:
    """What to do about a code of S3 ("SlowDown"), a line of s5cmd's, or an exception of boto3 or s3fs.

    An exception that no store can cause is a fault of this program, and is raised again.
    """
    if isinstance(problem, str):
        status = _GO_STATUS.search(problem)
        # s5cmd's own line on a file that has gone: all that looks like a code in it is the file's name.
        gone = problem.startswith("given object ")
        words = [problem] if problem.isalnum() else [] if gone else _GO_CODE.findall(problem)
        words = [word for word in words if word not in _GO_OWN]
        known = [word for word in words if word in _BY_CODE]
        if known or (status and not gone) or problem.isalnum():
            return _of_answer((known or words or [""])[0], status[1] if status else "")
        for part, action, code in _BY_PART:
            if part in problem:
                return Verdict(action, code, part.strip(": "))
        return Verdict("fail", Code.STORE_REFUSED)
    if isinstance(problem, StoreError):
        return Verdict("stop", problem.code)
    for error in causes(problem):
        response = answer_of(error)
        if response:
            status_code = response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
            return _of_answer(str(response.get("Error", {}).get("Code", "")), str(status_code))
    for error in causes(problem):
        for kind in type(error).__mro__:
            if kind.__name__ in _BY_EXCEPTION:
                if kind.__name__ == "SSLError" and not _UNTRUSTED.search(str(error)):
                    return Verdict("retry", Code.STORE_UNAVAILABLE, "SSLError")  # A connection that broke.
                return Verdict(*_BY_EXCEPTION[kind.__name__], type(error).__name__)
    if isinstance(problem, FileNotFoundError):
        return Verdict("reject", Code.SOURCE_GONE, "404")
    raise problem


_MISSING = ("NoSuchKey", "NoSuchVersion", "404", "NotFound")
LONGEST_KEY, LONGEST_SEGMENT = 1024, 255
"""Bytes: what S3 allows, and what some stores allow between two slashes."""
_BAD_NAME = ("InvalidObjectName", "XMinioInvalidObjectName", "InvalidURI")


def of_upload(verdict: Verdict, key: str) -> Verdict:
    """What the verdict means where an object was to be written: there is no source in the store that could be gone.

    A name that is longer than stores allow is said to be that, whatever the store calls it.
    """
    if verdict.reported in _MISSING or verdict.code == Code.SOURCE_CHANGED:
        return Verdict("fail", Code.STORE_REFUSED, verdict.reported)
    longest = max(len(part.encode()) for part in key.split("/"))
    if verdict.reported in _BAD_NAME and (len(key.encode()) > LONGEST_KEY or longest > LONGEST_SEGMENT):
        return Verdict("reject", Code.KEY_TOO_LONG, verdict.reported)
    return verdict


def is_missing(error: BaseException) -> bool:
    """The store answered, and there is no such object. A bucket that is not there is none of that."""
    return classify(error).reported in _MISSING


def _of_answer(code: str, status: str) -> Verdict:
    verdict = _BY_CODE.get(code) or _BY_STATUS.get(code) or _BY_STATUS.get(status)
    if verdict is None:
        busy = status.startswith("5") or code.startswith("5")
        return Verdict("retry", Code.STORE_BUSY, code) if busy else Verdict("fail", Code.STORE_REFUSED, code)
    return verdict if code in (verdict.reported, "") else Verdict(verdict.action, verdict.code, code)


def answer_of(error: BaseException) -> dict[str, Any]:
    """The store's answer in botocore's `ClientError`; {} in any other error."""
    response = getattr(error, "response", None)
    return response if isinstance(response, dict) else {}


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what lies behind it, where s3fs or boto3's transfers have wrapped it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        wraps = isinstance(seen, OSError) or type(seen).__module__.startswith(("boto3", "s3transfer"))
        seen = (getattr(seen, "last_exception", None) or seen.__cause__ or seen.__context__) if wraps else None


def local_fault(error: Exception) -> OSError | None:
    """The error of a local file that this is or wraps; None where it came from the network.

    boto3's own errors are OSErrors in part, but carry no number; and it wraps what befalls it as it reads a body.
    """
    for each in (error, error.__context__):
        if isinstance(each, OSError) and each.errno and not isinstance(each, ConnectionError | TimeoutError):
            return each
    return None
