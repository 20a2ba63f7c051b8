from __future__ import annotations

import errno
from typing import cast

import botocore.exceptions as boto
import pytest
import urllib3.exceptions
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError

from imagehaul.errors import Code, StoreError
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import Verdict, classify, is_missing, of_upload
from imagehaul.store.explanations import Verb, explain
from imagehaul.store.retry import answer

pytestmark = pytest.mark.every_store

GO = "status code: 403, request id: 18EA68577D4AC6AFE1352FBF, host id: "


def client_error(code: str, status: int = 400, message: str = "", headers: dict[str, str] | None = None) -> ClientError:
    answer = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers or {}},
    }
    return ClientError(answer, "PutObject")  # type: ignore[arg-type] - a part of an answer


@pytest.mark.parametrize(
    ("problem", "action", "code"),
    [
        # Codes of S3.
        ("AccessDenied", "stop", "ACCESS_DENIED"),
        ("InvalidAccessKeyId", "stop", "ACCESS_DENIED"),
        ("ExpiredToken", "stop", "CREDENTIALS_EXPIRED"),
        ("RequestTimeTooSkewed", "stop", "CLOCK_SKEWED"),
        ("NoSuchBucket", "stop", "BUCKET_MISSING"),
        ("PermanentRedirect", "stop", "WRONG_REGION"),
        ("XMinioStorageFull", "stop", "STORE_FULL"),
        ("SlowDown", "retry", "STORE_BUSY"),
        ("InternalError", "retry", "STORE_BUSY"),
        ("BadDigest", "retry", "STORE_BUSY"),
        ("503", "retry", "STORE_BUSY"),
        ("KeyTooLongError", "reject", "KEY_TOO_LONG"),
        ("EntityTooLarge", "reject", "STORE_REFUSED"),
        ("InvalidStorageClass", "fail", "STORE_REFUSED"),
        # Lines of s5cmd.
        (f"AccessDenied: Access Denied. {GO}", "stop", "ACCESS_DENIED"),
        ("KeyTooLongError: Your key is too long. status code: 400, request id: 1, host id:", "reject", "KEY_TOO_LONG"),
        ("Odd: Odd. status code: 502, request id: 1", "retry", "STORE_BUSY"),
        (f"MultipartUpload: upload failed\n\tupload id: 1\ncaused by: AccessDenied: no {GO}", "stop", "ACCESS_DENIED"),
        (
            'RequestError: send request failed caused by: Put "http://127.0.0.1:1/b/AccessDenied:%20k": dial tcp '
            "127.0.0.1:1: connect: connection refused",
            "retry",
            "STORE_UNAVAILABLE",
        ),
        (
            'RequestError: send request failed caused by: Put "https://h/b/k": tls: failed to verify certificate: '
            "x509: certificate signed by unknown authority",
            "stop",
            "CERTIFICATE",
        ),
        ("RequestError: send request failed caused by: tls: bad record MAC", "retry", "STORE_UNAVAILABLE"),
        ("LoadCustomCABundleError: failed to load custom CA bundle PEM file", "stop", "CERTIFICATE"),
        ("given object /a/b.jpg not found", "reject", "SOURCE_GONE"),
        ("given object /AccessDenied: status code: 403.jpg not found", "reject", "SOURCE_GONE"),
        ("open /a/b.jpg: permission denied", "reject", "UNREADABLE"),
        ("open /a/b.jpg: too many open files", "retry", "MACHINE_BUSY"),
        ("read /a/b.jpg: cannot allocate memory", "retry", "MACHINE_BUSY"),
        ("something that nobody has ever seen", "fail", "STORE_REFUSED"),
        ("", "fail", "STORE_REFUSED"),
        # Exceptions.
        (client_error("SlowDown", 503), "retry", "STORE_BUSY"),
        (client_error("NobodyKnows", 500), "retry", "STORE_BUSY"),
        (client_error("NobodyKnows", 403), "stop", "ACCESS_DENIED"),
        (client_error("NobodyKnows", 418), "fail", "STORE_REFUSED"),
        (client_error("403", 403), "stop", "ACCESS_DENIED"),
        (client_error("PreconditionFailed", 412), "reject", "SOURCE_CHANGED"),
        (boto.EndpointConnectionError(endpoint_url="http://h"), "retry", "STORE_UNAVAILABLE"),
        (boto.ReadTimeoutError(endpoint_url="http://h"), "retry", "STORE_UNAVAILABLE"),
        (boto.SSLError(endpoint_url="https://h", error="certificate verify failed"), "stop", "CERTIFICATE"),
        (boto.SSLError(endpoint_url="https://h", error="EOF in violation of protocol"), "retry", "STORE_UNAVAILABLE"),
        (boto.NoCredentialsError(), "stop", "ACCESS_DENIED"),
        (boto.ParamValidationError(report="Key"), "reject", "STORE_REFUSED"),
        (urllib3.exceptions.ProtocolError("broken"), "retry", "STORE_UNAVAILABLE"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "retry", "STORE_UNAVAILABLE"),
        (StoreError("no such bucket", "BUCKET_MISSING"), "stop", "BUCKET_MISSING"),
    ],
)
def test_what_a_store_says_has_one_meaning(problem: str | Exception, action: str, code: str) -> None:
    verdict = classify(problem)
    assert (verdict.action, verdict.code) == (action, code)
    assert verdict.code in Code.__members__


def test_the_stores_own_word_goes_along() -> None:
    assert classify("Odd: odd. status code: 403, request id: 1") == Verdict("stop", "ACCESS_DENIED", "Odd")


def test_what_no_store_can_cause_is_raised_again() -> None:
    with pytest.raises(KeyError):
        classify(KeyError("a fault of ours"))
    with pytest.raises(OSError, match="No space left"):
        classify(OSError(errno.ENOSPC, "No space left on device"))


def test_s3fs_and_boto3s_transfers_are_seen_through(store: Store, bucket: str, identities: dict[str, object]) -> None:
    reader = Store(url=store.url, credentials=identities["read"])  # type: ignore[arg-type]
    with pytest.raises(PermissionError) as denied:
        reader.filesystem().pipe_file(f"{bucket}/a", b"1")
    assert classify(denied.value).code == "ACCESS_DENIED"
    with pytest.raises(FileNotFoundError) as missing:
        store.filesystem().cat_file(f"{bucket}/a")
    assert is_missing(missing.value)
    with pytest.raises(S3UploadFailedError) as failed:
        reader.client().upload_file(__file__, bucket, "a")
    assert classify(failed.value).code == "ACCESS_DENIED"


def test_a_missing_object_is_missing_and_a_missing_bucket_is_an_error(store: Store, bucket: str) -> None:
    with pytest.raises(ClientError) as got:
        store.client().get_object(Bucket=bucket, Key="a")
    with pytest.raises(ClientError) as head:
        store.client().head_object(Bucket=bucket, Key="a")
    with pytest.raises(ClientError) as no_bucket:
        store.client().get_object(Bucket="never-made", Key="a")
    assert [is_missing(error.value) for error in (got, head, no_bucket)] == [True, True, False]


def test_a_stores_words_cannot_write_to_the_terminal() -> None:
    explained = explain(client_error("Odd", message="\x1b[2J\nsecond line"), "list", "s3://b/", "http://h")
    assert "\x1b" not in str(explained)
    assert str(explained).count("\n") == 1


def test_an_error_that_is_explained_stays_as_it_is() -> None:
    error = StoreError("told already", "BUCKET_MISSING")
    assert explain(error, "list", "s3://b/", "") is error


# -- what is meant where an object is written --------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["404", "NoSuchKey", "NotFound", "412", "PreconditionFailed"])
def test_a_write_is_not_told_that_its_source_is_gone_or_changed(code: str) -> None:
    assert of_upload(classify(code), "a.jpg") == Verdict("fail", "STORE_REFUSED", code)


@pytest.mark.parametrize("key", ["a" * 1025, "a/" + "b" * 256])
def test_a_name_that_is_refused_and_too_long_is_too_long(key: str) -> None:
    assert of_upload(classify("InvalidObjectName"), key).code == "KEY_TOO_LONG"
    assert of_upload(classify("InvalidObjectName"), "short").code == "STORE_REFUSED"


def test_a_proxys_limit_of_size_is_named_and_no_dump_is_shown() -> None:
    line = (
        'ERROR "cp a s3://b/a": SerializationError: failed to unmarshal error message status code: 413, request id: '
        "caused by: UnmarshalError: failed to unmarshal error message 00000000  3c 68 74 6d 6c 3e"
    )
    sent = answer("a", of_upload(classify(line), "a"), line)
    assert (sent.outcome, sent.code) == ("failed", "STORE_REFUSED")
    assert "client_max_body_size" in sent.message
    assert "3c 68" not in sent.message


def test_an_archived_object_is_named_as_one() -> None:
    sent = answer("a", classify("InvalidObjectState"), "InvalidObjectState (The operation is not valid)")
    assert sent.code == "SOURCE_ARCHIVED"
    assert "archive" in sent.message
    assert "Restore it" in Code.SOURCE_ARCHIVED.advice


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"content-type": "text/html", "via": "1.1 proxy.example (squid/6.1)"}, "1.1 proxy.example (squid/6.1)"),
        ({"content-type": "text/html; charset=utf-8", "server": "nginx/1.22"}, "nginx/1.22"),
    ],
)
def test_a_refusal_by_a_proxy_blames_no_permission(headers: dict[str, str], name: str) -> None:
    said = str(explain(client_error("403", status=403, headers=headers), "list", "s3://b/", "http://h"))
    assert said.startswith("What answered in place of the store at http://h is a web server or proxy")
    assert name in said
    assert "NO_PROXY" in said
    assert "s3:ListBucket" not in said


def test_a_refusal_by_the_store_names_the_permission_for_what_was_done() -> None:
    for verb, needed in {"list": "s3:ListBucket", "write": "s3:PutObject", "remove": "s3:DeleteObject"}.items():
        assert needed in str(explain(client_error("AccessDenied"), cast(Verb, verb), "s3://b/", "http://h"))


def test_a_token_service_that_cannot_be_reached_is_not_called_the_store() -> None:
    said = str(explain(ConnectionError("refused"), "assume", "the role r", "http://sts"))
    assert said.startswith("The security token service at http://sts cannot be reached")
