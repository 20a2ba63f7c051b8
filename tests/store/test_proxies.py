"""All clients of a store go the same way, through a proxy or past it."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagehaul.errors import SettingsError
from imagehaul.records import EngineName, ObjectOptions
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from imagehaul.store.proxies import proxy_for
from imagehaul.transfer.engines import choose_engine
from tests.support.answering import Answer
from tests.support.conditions import fresh_store
from tests.support.misbehaving import STORED, Misbehaving
from tests.support.sending import QUICK, stored, uploads_of

PROXY = {"HTTP_PROXY": "http://proxy:3128", "HTTPS_PROXY": "http://secure:3128"}


@pytest.mark.parametrize(
    ("no_proxy", "url", "proxy"),
    [
        ("", "http://store:9000", "http://proxy:3128"),
        ("", "https://store:9000", "http://secure:3128"),
        ("store", "http://store:9000", ""),
        ("other, store", "http://store:9000", ""),
        ("store:9000", "http://store:9000", ""),
        ("store:9001", "http://store:9000", "http://proxy:3128"),
        ("store:80", "http://store", ""),
        ("example.com", "https://s3.example.com", ""),
        (".example.com", "https://s3.example.com", ""),
        ("*.example.com", "https://s3.example.com", ""),
        ("ample.com", "https://s3.example.com", "http://secure:3128"),
        ("10.0.0.0/8", "http://10.1.2.3:9000", ""),
        ("10.0.0.0/8", "http://11.1.2.3:9000", "http://proxy:3128"),
        ("10.1.2.3", "http://10.1.2.3:9000", ""),
        ("127.0.0.1:9000", "http://127.0.0.1:9000", ""),
        ("[::1]:9000", "http://[::1]:9000", ""),
        ("::1", "http://[::1]:9000", ""),
        ("*", "http://store:9000", ""),
    ],
)
def test_no_proxy_is_read_in_every_form_that_any_client_knows(no_proxy: str, url: str, proxy: str) -> None:
    assert proxy_for(url, {**PROXY, "NO_PROXY": no_proxy}) == proxy


def test_lower_case_comes_first_and_a_proxy_for_all_last() -> None:
    assert proxy_for("http://s", {**PROXY, "http_proxy": "http://lower:1"}) == "http://lower:1"
    assert proxy_for("https://s", {"ALL_PROXY": "any:1"}) == "http://any:1"
    assert proxy_for("http://s", {}) == ""


@pytest.mark.parametrize("proxy", ["socks5://me:secret@proxy:1080", "http://proxy:port", "http://"])
def test_what_is_no_http_proxy_is_refused_without_its_password(proxy: str) -> None:
    with pytest.raises(SettingsError, match="is no http:// or https:// URL of a proxy") as caught:
        proxy_for("http://store:9000", {"ALL_PROXY": proxy})
    assert "secret" not in str(caught.value)
    assert proxy_for("http://store:9000", {"ALL_PROXY": proxy, "NO_PROXY": "store"}) == ""


@pytest.mark.parametrize("engine", ["boto3", "s5cmd", "obstore"])
def test_every_engine_passes_a_proxy_that_is_excluded_by_host_and_port(
    engine: EngineName, store: Store, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Misbehaving(lambda _: STORED) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.store.url)
        monkeypatch.setenv("NO_PROXY", store.url.removeprefix("http://"))
        uploads = uploads_of(tmp_path, ["a.jpg", "b.jpg"])
        direct = fresh_store(store)
        with choose_engine(direct, bucket, engine, 4, ObjectOptions(), QUICK) as lane:
            assert {sent.outcome for sent in lane.send(uploads, tmp_path)} == {"sent"}
        assert proxy.requests == []
    monkeypatch.delenv("HTTP_PROXY")
    assert set(stored(store, bucket)) == {"a.jpg", "b.jpg"}


def test_a_proxy_that_refuses_is_named_and_no_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = Answer(403, b"<html>Forbidden</html>", {"Content-Type": "text/html", "Via": "1.1 gate (squid)"})
    with Misbehaving(lambda _: refusal) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.store.url)
        with pytest.raises(Exception, match=r"proxy \(1.1 gate \(squid\)\)") as refused:
            Store("http://store.example:9000", credentials=AccessKey("a", "b")).check("images")
    assert "s3:ListBucket" not in str(refused.value)
