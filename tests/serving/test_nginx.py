"""Every URL of an export leads to its image through a real nginx, and nothing else does."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from imagehaul.layout import Layout
from imagehaul.local.embedded_store import EmbeddedStore
from imagehaul.mapping import url_of
from imagehaul.serving.nginx import CA_FILE, UNKNOWN_ADDRESS, Serving, serving
from imagehaul.settings import Settings
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="no nginx on this machine: apt-get install nginx-light")

MAIN = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/imagehaul.conf;
}}
"""

RUN = "20261122T101500Z-1f3a9c"
ODD_NAMES = [
    "plain.jpg",
    "a b.jpg",
    " leading and trailing .jpg ",
    "a+b=c&d;e,f@g:h!.jpg",
    "100%.jpg",
    "%2F.jpg",
    "%20.jpg",
    "%2e%2e.jpg",
    "%00.jpg",
    "what?.jpg",
    "#1.jpg",
    "$request_uri.jpg",
    "'quotes' \"here\" `and` here.jpg",
    "[a]{b}(c)<d>|^~*.jpg",
    "tab\treturn\r.jpg",
    "é.jpg",
    "e\u0301.jpg",
    "猫/ねこ/😺.jpg",
    "\u202eright-to-left.jpg",
    "nbsp\u00a0.jpg",
    "...",
    "..jpg",
    "a..b/.hidden/c..",
    "runs/current.json",
    "images/images/x.jpg",
    "UPPER/upper.JPG",
    "l" * 200 + ".jpg",
    "猫" * 60 + "/" + "猫" * 60 + ".jpg",
]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str] = field(repr=False)
    body: bytes


Ask = Callable[..., Answer]


@contextmanager
def running(configuration: str, folder: Path, port: int) -> Iterator[Ask]:
    """A real nginx with that configuration; requests reach it exactly as they are written."""
    (folder / "imagehaul.conf").write_text(configuration)
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
    assert NGINX
    with subprocess.Popen(
        [NGINX, "-c", str(folder / "nginx.conf"), "-p", str(folder)], stderr=subprocess.PIPE
    ) as process:

        def ask(path: str, method: str = "GET", **headers: str) -> Answer:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)

        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.02)
        assert process.poll() is None, process.communicate()[1].decode()
        try:
            yield ask
        finally:
            process.terminate()


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def made(settings: Settings, store: Store, port: int) -> Serving:
    return serving(settings, store, f"127.0.0.1:{port}")


def allow(store: Store, bucket: str, made: Serving) -> None:
    store.client().put_bucket_policy(Bucket=bucket, Policy=made.policy)


def put(store: Store, bucket: str, key: str, body: bytes | None = None, **headers: str) -> bytes:
    body = key.encode() if body is None else body
    store.client().put_object(Bucket=bucket, Key=key, Body=body, **{"ContentType": "image/jpeg", **headers})  # type: ignore[arg-type]
    return body


@needs_nginx
@pytest.mark.parametrize(
    ("prefix", "cdn"),
    [
        ("", "/image"),
        ("pre fix/$x%41/", "/image"),
        ("p/", "/"),
        ("p/", "https://cdn.example.com/ro%20ot/a+b(c)$.d/"),
        ("p/", "http://cdn.example.com"),
    ],
)
def test_every_url_of_an_export_answers_with_its_own_bytes_and_type(
    store: Store, bucket: str, tmp_path: Path, port: int, prefix: str, cdn: str
) -> None:
    layout = Layout(bucket, prefix, "c.a_t-s")
    settings = Settings(remote_save=f"s3://{bucket}/{prefix}", cdn_fullpath=cdn)
    keys = [layout.images + name for name in ODD_NAMES]
    keys += [layout.thumbnails + "a b.png.jpg", layout.crops + "a+b.png/0123456789abcdef.jpg"]
    keys += [f"{layout.exports}{RUN}/gallery/{name}" for name in ("index.html", "list/00000.json.gz")]
    sent = {key: put(store, bucket, key) for key in keys}
    nginx = made(settings, store, port)
    allow(store, bucket, nginx)
    with running(nginx.configuration, tmp_path, port) as ask:
        for key, body in sent.items():
            url = urlsplit(url_of(key, layout, cdn))
            answer = ask(url.path)
            assert (answer.status, answer.body) == (200, body), key
            assert answer.headers["content-type"] == "image/jpeg"


@needs_nginx
@pytest.mark.parametrize("cdn", ["/image", "https://cdn.example.com/"])
def test_for_anything_else_the_store_is_not_even_asked(bucket: str, tmp_path: Path, port: int, cdn: str) -> None:
    root = urlsplit(cdn).path.rstrip("/")
    nginx = made(Settings(remote_save=f"s3://{bucket}/p/", cdn_fullpath=cdn), Store("http://127.0.0.1:9"), port)
    with running(nginx.configuration, tmp_path, port) as ask:
        # This store is away, so that a request that reaches it is told from one that does not.
        assert ask(f"{root}/cats/images/sub/a.jpg").status == 502
        for path in (
            "/",
            "/favicon.ico",
            f"/{bucket}/p/cats/images/sub/a.jpg",
            f"{root}/",
            f"{root}/cats",
            f"{root}/cats/",
            f"{root}/cats/current.json",
            f"{root}/cats/runs/r/report.json",
            f"{root}/cats/runs/r/ledger/part-00001.parquet",
            f"{root}/cats/exports/{RUN}/metadata.json",
            f"{root}/cats/exports/{RUN}/gallery",
            f"{root}/cats/exports/{RUN}/gallery/",
            f"{root}/cats/exports/{RUN}/gallery/../metadata.json",
            f"{root}/cats/exports/other/gallery/index.html",
            f"{root}/cats/exports/gallery/index.html",
            f"{root}/cats/.imagehaul/lock.json",
            f"{root}/cats/images",
            f"{root}/cats/images/",
            f"{root}/cats/images/sub/",
            f"{root}/cats/images/?list-type=2",
            f"{root}/cats/IMAGES/sub/a.jpg",
            f"{root}/cats%2Fimages/sub/a.jpg",
            f"{root}/c%61ts/images/sub/a.jpg",
            f"{root}/images/secret.jpg",
            f"{root}/.hidden/images/a.jpg",
            f"{root}/a/b/images/a.jpg",
            f"/x{root}/cats/images/sub/a.jpg",
            # Ways out of images/.
            f"{root}/cats/images/../current.json",
            f"{root}/cats/images/%2e%2e/current.json",
            f"{root}/cats/images/.%2E/current.json",
            f"{root}/cats/images/..%2fcurrent.json",
            f"{root}/cats/images/%2e%2e%2Fcurrent.json",
            f"{root}/cats/images%2f..%2fcurrent.json",
            f"{root}/cats/images/sub/../../current.json",
            f"{root}/cats/images/sub/%2e%2e/%2e%2e/current.json",
            f"{root}/cats/images/sub/..",
            f"{root}/cats/images/sub%2f%2e%2e?",
            f"{root}/cats/../cats/images/sub/a.jpg",
            f"/x/..{root}/cats/images/sub/a.jpg",
            f"/.{root}/cats/images/sub/a.jpg",
            f"{root}//cats/images/sub/a.jpg",
            f"/{root}/cats/images/sub/a.jpg" if root else "//cats/images/sub/a.jpg",
            f"{root}/cats/images//sub/a.jpg",
            f"{root}/cats/images/%2fsub/a.jpg",
            f"{root}/cats/images/sub/./a.jpg",
            f"{root}/cats/current.json?{root}/cats/images/sub/a.jpg",
            f"{root}/cats/current.json?x=/images/sub/a.jpg",
        ):
            assert ask(path).status == 404, path
        assert ask(f"{root}/cats/images/%00").status == 400
        assert ask("/../etc/passwd").status == 400


@needs_nginx
def test_what_the_store_does_not_give_is_not_found_and_its_own_words_stay_there(
    store: Store, bucket: str, tmp_path: Path, port: int
) -> None:
    nginx = made(Settings(remote_save=f"s3://{bucket}/p/"), store, port)
    allow(store, bucket, nginx)
    put(store, bucket, "p/cats/images/sub/a.jpg")
    put(store, bucket, "p/cats/current.json")
    with running(nginx.configuration, tmp_path, port) as ask:
        for name in ("absent.jpg", "sub", "..\\current.json", "..%5ccurrent.json", "..;/current.json", "a" * 2000):
            answer = ask(f"/image/cats/images/{name}")
            assert answer.status == 404, name
            assert b"cats" not in answer.body
        store.client().delete_bucket_policy(Bucket=bucket)
        refused = ask("/image/cats/images/sub/a.jpg")
        assert (refused.status, b"cats" in refused.body) == (404, False)


@needs_nginx
def test_only_reads_are_served_and_no_query_or_key_of_the_client_reaches_the_store(
    store: Store, bucket: str, tmp_path: Path, port: int
) -> None:
    body = put(store, bucket, "cats/images/a.jpg")
    nginx = made(Settings(remote_save=f"s3://{bucket}/"), store, port)
    allow(store, bucket, nginx)
    url = "/image/cats/images/a.jpg"
    with running(nginx.configuration, tmp_path, port) as ask:
        for method in ("PUT", "POST", "DELETE", "OPTIONS"):
            assert ask(url, method, Content_Length="0").status == 405
        for query in ("?v=2", "?acl", "?response-content-type=text/html", "?X-Amz-Signature=bad&X-Amz-Algorithm=AWS4"):
            assert ask(url + query).body == body
            assert ask(url + query).headers["content-type"] == "image/jpeg"
        assert ask(url, Authorization="AWS4-HMAC-SHA256 Credential=nobody", Cookie="a=b").body == body
        head = ask(url, "HEAD")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(body)))


@needs_nginx
def test_browsers_may_keep_an_image_for_an_hour_unless_the_object_says_otherwise(
    store: Store, bucket: str, tmp_path: Path, port: int
) -> None:
    body = put(store, bucket, "cats/images/a.jpg")
    put(store, bucket, "cats/images/b.jpg", CacheControl="private, max-age=5")
    nginx = made(Settings(remote_save=f"s3://{bucket}/"), store, port)
    allow(store, bucket, nginx)
    with running(nginx.configuration, tmp_path, port) as ask:
        first = ask("/image/cats/images/a.jpg")
        assert first.headers["cache-control"] == "public, max-age=3600"
        assert first.headers["x-content-type-options"] == "nosniff"
        assert not [name for name in first.headers if name.startswith("x-amz")]
        assert ask("/image/cats/images/b.jpg").headers["cache-control"] == "private, max-age=5"
        again = ask("/image/cats/images/a.jpg", If_None_Match=first.headers["etag"])
        assert (again.status, again.body) == (304, b"")
        part = ask("/image/cats/images/a.jpg", Range="bytes=2-4")
        assert (part.status, part.body) == (206, body[2:5])
        assert "cache-control" not in ask("/image/cats/images/absent.jpg").headers


@needs_nginx
def test_the_private_ca_is_taken_from_the_printed_file_and_no_other_store_is_believed(
    tls_store: Store, store: Store, bucket: str, tmp_path: Path, port: int
) -> None:
    body = put(store, bucket, "cats/images/a b.jpg")
    nginx = made(Settings(remote_save=f"s3://{bucket}/"), tls_store, port)
    allow(store, bucket, nginx)
    printed, ca = tmp_path / "printed.conf", tmp_path / "ca.pem"
    printed.write_text(str(nginx))
    ca.write_text(
        subprocess.run(["sed", "-n", "s/^#CA //p", printed], capture_output=True, check=True, text=True).stdout
    )
    # The whole of what is printed is a configuration.
    configuration = str(nginx).replace(f'"{CA_FILE}"', f'"{ca}"')
    with running(configuration, tmp_path, port) as ask:
        assert ask("/image/cats/images/a%20b.jpg").body == body
    ca.write_bytes(trustme.CA().cert_pem.bytes())
    with running(configuration, tmp_path, port) as ask:
        answer = ask("/image/cats/images/a%20b.jpg")
        assert (answer.status, "upstream" in str(answer)) == (502, False)


@needs_nginx
def test_on_aws_nginx_looks_the_store_up_again_and_checks_its_certificate(tmp_path: Path, port: int) -> None:
    store = Store(region="eu-central-1", credentials=AccessKey("a", "b"))
    nginx = made(Settings(remote_save="s3://bucket/p/", cdn_fullpath="https://cdn.example.com/x"), store, port)
    assert "set $imagehaul_store s3.eu-central-1.amazonaws.com;" in nginx.configuration
    assert "resolver " in nginx.configuration
    assert "proxy_ssl_verify on;" in nginx.configuration
    assert UNKNOWN_ADDRESS in nginx.policy
    with running(nginx.configuration, tmp_path, port) as ask:
        assert ask("/x/cats/current.json").status == 404


def test_a_store_of_virtual_hosts_is_asked_by_the_buckets_host_name() -> None:
    store = Store("http://s3.example.com:9000", addressing="virtual")
    text = serving(Settings(remote_save="s3://bucket/p/"), store).configuration
    assert "server bucket.s3.example.com:9000;" in text
    assert "proxy_set_header Host bucket.s3.example.com:9000;" in text
    assert '"/p/$imagehaul_key"' in text


def test_the_policy_lets_this_host_read_what_is_served_and_nothing_else(store: Store, bucket: str) -> None:
    nginx = serving(Settings(remote_save=f"s3://{bucket}/p/"), store)
    allow(store, bucket, nginx)
    assert readable_without_keys(store, bucket) == ["images", "thumbnails", "crops", f"exports/{RUN}/gallery"]
    elsewhere = serving(Settings(remote_save=f"s3://{bucket}/p/"), store, address="203.0.113.7/32")
    allow(store, bucket, elsewhere)
    assert readable_without_keys(store, bucket) == []


@pytest.fixture
def by_identity(tmp_path: Path) -> Iterator[EmbeddedStore]:
    """A store that has the printed identity among its own, and no policy."""
    printed = serving(Settings(remote_save="s3://bucket/p/"), Store("http://127.0.0.1:1")).identity
    keys = {"name": "us", "credentials": [{"accessKey": "access", "secretKey": "secret"}], "actions": ["Admin"]}
    (tmp_path / "keys.json").write_text(json.dumps({"identities": [keys, json.loads(printed)]}))
    with EmbeddedStore(tmp_path) as server:
        server.make_bucket("bucket")
        yield server


def test_the_seaweedfs_identity_allows_the_same(by_identity: EmbeddedStore) -> None:
    assert readable_without_keys(by_identity.store(), "bucket") == [
        "images",
        "thumbnails",
        "crops",
        f"exports/{RUN}/gallery",
    ]


@needs_nginx
def test_a_newline_in_a_name_needs_the_seaweedfs_identity(
    by_identity: EmbeddedStore, tmp_path: Path, port: int
) -> None:
    # The star of a policy matches no newline in SeaweedFS.
    store = by_identity.store()
    body = put(store, "bucket", "p/cats/images/a\nb.jpg")
    nginx = made(Settings(remote_save="s3://bucket/p/"), store, port)
    with running(nginx.configuration, tmp_path, port) as ask:
        assert ask("/image/cats/images/a%0Ab.jpg").body == body


def readable_without_keys(store: Store, bucket: str) -> list[str]:
    """Asked of the store itself."""
    url = urlsplit(store.url)
    readable = []
    galleries = f"exports/{RUN}/gallery"
    for name in ("images", "thumbnails", "crops", galleries, "runs", "exports", ".imagehaul", "current.json"):
        key = f"p/cats/{name}" if "json" in name else f"p/cats/{name}/x"
        put(store, bucket, key)
        for path in (f"/{bucket}/{key}", f"/{bucket}/?prefix={key}"):
            connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                readable.append(name)
            connection.close()
    return readable
