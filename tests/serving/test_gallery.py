"""The gallery on loopback shows what lies in the store, and nothing but the pictures and the gallery."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from imagehaul.errors import HaulError, SettingsError, StoreError
from imagehaul.layout import Layout
from imagehaul.ledger.publications import current_gallery
from imagehaul.mapping import url_of
from imagehaul.serving.gallery import GalleryServer
from imagehaul.store.endpoint import Store
from tests.support.fault_proxy import Exchange, Fault, FaultProxy

RUN = "20261122T101500Z-1f3a9c"
ODD = ["a b+c.jpg", "50% #1?.jpg", "日本/é.png", "line\nbreak.jpg", "%2e%2e.jpg", 'it\'s "q".jpg']
Ask = Callable[..., tuple[int, dict[str, str], bytes]]


@pytest.fixture
def layout(bucket: str) -> Layout:
    return Layout(bucket, "p/", "birds")


def publish(store: Store, layout: Layout, **exports: str) -> None:
    pointer = {"schema": 1, "run": RUN, "ledger": "", "fingerprint": "", "time": "", "counts": {}}
    pointer["exports"] = {"json": "s3://x/metadata.json", **exports}
    store.client().put_object(Bucket=layout.bucket, Key=layout.current, Body=json.dumps(pointer).encode())


@pytest.fixture
def ask(store: Store, layout: Layout) -> Iterator[Ask]:
    with GalleryServer(store, layout, current_gallery) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()

        def ask(path: str, method: str = "GET", host: str = "") -> tuple[int, dict[str, str], bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
            connection.request(method, path, headers={"Host": host or f"127.0.0.1:{server.server_port}"})
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            return answer.status, dict(answer.getheaders()), body

        yield ask
        server.shutdown()
        thread.join()


def test_pictures_and_gallery_come_whole_whatever_their_names(ask: Ask, store: Store, layout: Layout) -> None:
    keys = [layout.images + name for name in ODD] + [layout.thumbnails + "a.jpg.jpg", layout.crops + "a.jpg/1.jpg"]
    keys += [f"{layout.exports}{RUN}/gallery/{name}" for name in ("index.html", "list/00000.json.gz")]
    for key in keys:
        store.client().put_object(Bucket=layout.bucket, Key=key, Body=key.encode(), ContentType="image/jpeg")
        status, headers, body = ask(url_of(key, layout, "/"))
        assert (status, headers["Content-Type"], body) == (200, "image/jpeg", key.encode())
        status, headers, body = ask(url_of(key, layout, "/"), "HEAD")
        assert (status, headers["Content-Length"], body) == (200, str(len(key.encode())), b"")


@pytest.mark.parametrize(
    "path",
    [
        "/birds/current.json",
        "/birds/runs/r/report.json",
        f"/birds/exports/{RUN}/metadata.json",
        f"/birds/exports/{RUN}/gallery",
        "/birds/.imagehaul/lock.json",
        "/cats/images/a.jpg",
        "/birds/images/",
        "/p/birds/images/a.jpg",
        "//birds/images/a.jpg",
        "/birds/images/not there.jpg".replace(" ", "%20"),
    ],
)
def test_nothing_else_is_there(path: str, ask: Ask, store: Store, layout: Layout) -> None:
    for key in ("birds/current.json", "birds/runs/r/report.json", f"birds/exports/{RUN}/metadata.json"):
        store.client().put_object(Bucket=layout.bucket, Key=layout.prefix + key, Body=b"secret")
    assert ask(path)[::2] == (404, b"There is nothing here.\n")


def test_another_name_that_leads_here_is_refused(ask: Ask) -> None:
    """A page of another site must not read the store through a browser on this machine."""
    assert ask("/birds/images/a.jpg", host="evil.example:80")[0] == 421


def test_the_root_leads_to_the_current_gallery(ask: Ask, store: Store, layout: Layout) -> None:
    publish(store, layout, gallery=layout.uri(f"{layout.exports}{RUN}/gallery/index.html"))
    status, headers, _ = ask("/")
    assert (status, urlsplit(headers["Location"]).path) == (302, f"/birds/exports/{RUN}/gallery/index.html")


def test_a_data_set_without_a_gallery_says_how_to_get_one(ask: Ask, store: Store, layout: Layout) -> None:
    assert "The data set 'birds' was never published" in ask("/")[2].decode()
    publish(store, layout)
    assert "Deliver it again with EXPORTS=gallery" in ask("/")[2].decode()
    with pytest.raises(SettingsError, match="has no gallery"):
        current_gallery(store.client(), layout)


@pytest.mark.parametrize("content", [b"", b"garbage", b"[]", b"{}", b"\xff"])
def test_a_current_json_that_is_not_ours_is_named(content: bytes, ask: Ask, store: Store, layout: Layout) -> None:
    store.client().put_object(Bucket=layout.bucket, Key=layout.current, Body=content)
    status, _, words = ask("/")
    assert (status, b"is not what imagehaul writes" in words) == (404, True)
    with pytest.raises(StoreError, match="is not what imagehaul writes"):
        current_gallery(store.client(), layout)


def test_a_picture_whose_second_half_does_not_come_is_no_whole_answer(store: Store, layout: Layout) -> None:
    """What is missing must not be filled with the words of an error: a browser would take them for the picture."""
    content = bytes(range(256)) * 4_000
    store.client().put_object(Bucket=layout.bucket, Key=f"{layout.images}a.jpg", Body=content)

    def half(exchange: Exchange) -> Fault | None:
        cut = exchange.method == "GET" and "/images/" in exchange.key
        return (lambda cut_short: cut_short.reply(cut_short.forward(), share=0.5)) if cut else None

    with FaultProxy(store, half) as proxy, GalleryServer(proxy.store, layout, current_gallery) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.request("GET", "/birds/images/a.jpg")
        with pytest.raises(http.client.IncompleteRead) as broken:
            connection.getresponse().read()
        connection.close()
        server.shutdown()
    assert content.startswith(broken.value.partial)


def test_a_fault_of_our_own_is_not_hidden(
    store: Store, layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(GalleryServer, "index", lambda _server: {}["no such key"])
    with GalleryServer(store, layout, current_gallery) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.request("GET", "/")
        with pytest.raises(http.client.RemoteDisconnected):
            connection.getresponse()
        connection.close()
        server.shutdown()
    assert "no such key" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(store: Store, layout: Layout) -> None:
    with (
        GalleryServer(store, layout, current_gallery) as server,
        pytest.raises(HaulError, match=f"Port {server.server_port} cannot"),
    ):
        GalleryServer(store, layout, current_gallery, server.server_port)


@pytest.mark.parametrize("port", [-1, 65_536, 999_999])
def test_a_port_that_cannot_be_is_named(port: int, store: Store, layout: Layout) -> None:
    with pytest.raises(SettingsError, match=f"There is no port {port}. Name one from 1 to 65535"):
        GalleryServer(store, layout, current_gallery, port)
