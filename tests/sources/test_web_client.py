"""The way to a web server: through which proxy, and what is said where TLS or the proxy stands in it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpcore
import pytest
import trustme

from imagehaul.errors import SettingsError
from imagehaul.sources.web import Web
from imagehaul.sources.web_client import WebError, WebPatience
from tests.support.delivering import draw
from tests.support.web_proxy import web_proxy
from tests.support.web_server import WebServer

QUICK = WebPatience(connect=2, read=2, pauses=(0.05,), longest_wait=1.0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    with WebServer() as started:
        started.files["/a.jpg"] = draw(tmp_path / "drawn.jpg")
        yield started


@pytest.fixture
def web() -> Web:
    return Web(allow_private=True, patience=QUICK)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def refused(web: Web, url: str) -> tuple[str, str]:
    with pytest.raises(WebError) as caught:
        web.look(url)
    return caught.value.code, str(caught.value)


def by_tls(authority: trustme.CA, *names: str, **more: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **more).configure_cert(context)
    return context


def test_a_proxy_of_the_environment_is_gone_through(
    server: WebServer, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web_proxy() as (address, asked):
        monkeypatch.setenv("HTTP_PROXY", address)
        assert web.look(f"{server.url}/a.jpg").size == len(server.files["/a.jpg"])
        assert asked == [f"HEAD {server.url}/a.jpg HTTP/1.1"]


@pytest.mark.parametrize("excluded", ["127.0.0.0/8", "127.0.0.1", "*"])
def test_what_no_proxy_names_is_gone_to_directly(
    server: WebServer, web: Web, monkeypatch: pytest.MonkeyPatch, excluded: str
) -> None:
    """In every form that holds for the store, too."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", excluded)
    assert web.look(server.url.replace("localhost", "127.0.0.1") + "/a.jpg").size


def test_tls_is_tunnelled(
    authority: trustme.CA, server: WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    web = Web(allow_private=True, ca=str(tmp_path / "ca.pem"), patience=QUICK)
    with WebServer(by_tls(authority, "localhost")) as secure, web_proxy() as (address, asked):
        secure.files = server.files
        monkeypatch.setenv("HTTPS_PROXY", address)
        assert web.look(f"{secure.url}/a.jpg").size
        assert asked == [f"CONNECT {secure.url.removeprefix('https://')} HTTP/1.1"]


def test_a_proxy_that_refuses_a_tunnel_is_named(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    with web_proxy("403 Forbidden") as (address, _):
        monkeypatch.setenv("HTTPS_PROXY", address.replace("://", "://me:secret@"))
        code, words = refused(web, "https://pictures.example/a.jpg")
    assert (code, words) == ("HOST_UNREACHABLE", f"Through the proxy {address}: 403 Forbidden.")


def test_a_proxy_that_wants_a_password_says_so(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    with web_proxy("407 Proxy Authentication Required") as (address, _):
        monkeypatch.setenv("HTTP_PROXY", address)
        code, words = refused(web, "http://pictures.example/a.jpg")
    assert (code, words) == ("HOST_REFUSED", "The proxy says 407: it wants a user and a password, or others.")


def test_a_proxy_that_is_down_is_named(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    code, words = refused(web, "http://pictures.example/a.jpg")
    assert code == "HOST_UNREACHABLE"
    assert words.startswith("Through the proxy http://127.0.0.1:9: ")


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "foo://proxy", "http://127.0.0.1:port", "http://"])
def test_a_proxy_that_is_none_is_said_once_for_all(web: Web, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(SettingsError, match="is no http:// or https:// URL of a proxy"):
        web.look("http://pictures.example/a.jpg")


@pytest.mark.parametrize(
    ("names", "more", "words"),
    [
        (["other.example"], {}, "its certificate is for another host name"),
        (["localhost"], {"not_after": datetime.now(UTC) - timedelta(days=1)}, "its certificate has expired"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said(
    authority: trustme.CA, tmp_path: Path, names: list[str], more: dict[str, Any], words: str
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    web = Web(allow_private=True, ca=str(tmp_path / "ca.pem"), patience=QUICK)
    with WebServer(by_tls(authority, *names, **more)) as server:
        code, said = refused(web, f"{server.url}/a.jpg")
    assert code == "HOST_UNREACHABLE"
    assert f"No TLS connection to the server: {words}." in said
    assert "SOURCE_CA_BUNDLE" not in said


def test_an_unknown_ca_is_to_be_named_and_no_tls_is_said(authority: trustme.CA, server: WebServer, web: Web) -> None:
    with WebServer(by_tls(authority, "localhost")) as secure:
        assert "SOURCE_CA_BUNDLE" in refused(web, f"{secure.url}/a.jpg")[1]
    assert "it speaks no TLS at this port" in refused(web, server.url.replace("http:", "https:") + "/a.jpg")[1]


def test_a_host_is_tried_at_each_of_its_public_addresses(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of which stands for the server's; the others do not answer, one of them at once."""
    tried: list[tuple[str, float]] = []
    dead = {"2606:4700::1": httpcore.ConnectError, "1.1.1.1": httpcore.ConnectTimeout}
    connect, look_up = httpcore.SyncBackend.connect_tcp, socket.getaddrinfo

    def resolve(host: str, port: int, *arguments: Any, **named: Any) -> list[Any]:
        if host != "pictures.example":
            return look_up(host, port, *arguments, **named)
        return [(0, 0, 0, "", (address, port)) for address in ("10.0.0.1", *dead, "8.8.8.8")]

    def connected(self: httpcore.SyncBackend, host: str, port: int, timeout: float, *_: Any, **__: Any) -> Any:
        tried.append((host, round(timeout)))
        if host in dead:
            raise dead[host]("no answer")
        return connect(self, "127.0.0.1", port, timeout)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connected)
    url = server.url.replace("localhost", "pictures.example") + "/a.jpg"
    patience = WebPatience(connect=6, read=2, pauses=())
    assert Web(patience=patience).look(url).size == len(server.files["/a.jpg"])
    assert tried == [("2606:4700::1", 2), ("1.1.1.1", 3), ("8.8.8.8", 6)]
    dead["8.8.8.8"] = httpcore.ConnectTimeout
    assert refused(Web(patience=patience), url) == ("HOST_UNREACHABLE", "no answer.")
