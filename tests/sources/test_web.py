"""Pictures on web servers: patience with the busy, and no way into inner networks."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme

from imagehaul.sources.web import CONNECTIONS_A_HOST, MOST_LOST, Looked, Web
from imagehaul.sources.web_address import is_public, path_of
from imagehaul.sources.web_client import WebError, WebPatience
from imagehaul.url_secrets import without_secrets
from tests.support.answering import Answer, Request
from tests.support.delivering import draw
from tests.support.web_server import WebServer

QUICK = WebPatience(connect=2, read=2, pauses=(0.05, 0.1), longest_wait=1.0)


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as started:
        yield started


@pytest.fixture
def web() -> Web:
    return Web(allow_private=True, patience=QUICK)


@pytest.fixture
def picture(tmp_path: Path) -> bytes:
    return draw(tmp_path / "drawn.jpg")


def code(web: Web, url: str, sniff: bool = False) -> str:
    with pytest.raises(WebError) as caught:
        web.look(url, sniff)
    return caught.value.code


def varying(picture: bytes, modified: str = "Mon, 01 Jan 2024 00:00:00 GMT") -> Iterator[Answer]:
    """As servers behind a balancer answer that do not agree on ETags."""
    times = {"Last-Modified": modified} if modified else {}
    return (Answer(200, picture, {"ETag": f'"{number}"', **times}) for number in range(100))


class TestKeys:
    @pytest.mark.parametrize(
        ("url", "path"),
        [
            ("https://host/a/b.jpg", "host/a/b.jpg"),
            ("HTTPS://Host:8443/a%20b/%C3%BC.jpg", "host/a b/ü.jpg"),
            ("https://user:pw@host/a.jpg", "host/a.jpg"),
            ("https://host/a%2Fb.jpg", "host/a%2Fb.jpg"),
            ("https://host/%FF.jpg", "host/%FF.jpg"),
            ("https://host/a.jpg?X-Amz-Signature=s&X-Amz-Date=d", "host/a.jpg"),
            ("https://host/a.jpg?sv=1&se=2&sig=3", "host/a.jpg"),
            ("https://host/show", "host/show.png"),
            ("https://host/show.php", "host/show.php.png"),
        ],
    )
    def test_are_host_and_path(self, url: str, path: str) -> None:
        assert path_of(url, ".png") == path

    def test_have_a_hash_of_the_query_but_not_of_its_signature(self) -> None:
        first = path_of("https://host/a.jpg?id=1", "")
        assert first.startswith("host/a-")
        assert first.endswith(".jpg")
        assert first != path_of("https://host/a.jpg?id=2", "")
        assert first == path_of("https://host/a.jpg?id=1&Signature=x&Expires=1", "")
        assert path_of("https://host/get?id=1", ".jpg") == first.replace("/a-", "/get-")

    def test_secrets_are_not_shown(self) -> None:
        url = "https://user:pw@host:1/a.jpg?id=1&token=t&X-Amz-Credential=c#part"
        assert without_secrets(url) == "https://host:1/a.jpg?id=1"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2606:4700::1", True), ("127.0.0.1", False), ("10.1.2.3", False), ("169.254.1.1", False),
        ("::1", False), ("fe80::1%eth0", False), ("::ffff:10.0.0.1", False), ("fd00::1", False), ("0.0.0.0", False),
        ("100.64.0.1", False), ("224.0.0.1", False), ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False),
    ],
)  # fmt: skip
def test_addresses_of_inner_networks(address: str, public: bool) -> None:
    assert is_public(address) == public


class TestLook:
    def test_size_and_version_come_without_a_body(self, server: WebServer, web: Web, picture: bytes) -> None:
        server.files["/a.jpg"] = picture
        looked = web.look(f"{server.url}/a.jpg")
        assert looked.size == len(picture)
        assert len(looked.version) == 32
        assert server.bodies() == []

    def test_the_true_format_is_seen_in_the_first_bytes(self, server: WebServer, web: Web, picture: bytes) -> None:
        server.files["/show"] = picture
        assert web.look(f"{server.url}/show", sniff=True).suffix == ".jpg"
        assert [asked.headers["range"] for asked in server.asked] == ["bytes=0-63"]

    @pytest.mark.parametrize("status", [204, 400, 401, 403, 404, 405, 410, 500, 501])
    def test_a_server_that_takes_no_head_is_asked_for_the_first_bytes(
        self, server: WebServer, web: Web, picture: bytes, status: int
    ) -> None:
        server.files["/a.jpg"] = picture
        server.special["/a.jpg"] = lambda asked: Answer(status) if asked.method == "HEAD" else None
        assert web.look(f"{server.url}/a.jpg").size == len(picture)
        assert [asked.method for asked in server.asked] == ["HEAD", "GET"]

    @pytest.mark.parametrize("status", [401, 404, 410])
    def test_what_is_not_there_is_asked_for_twice_at_most(self, server: WebServer, web: Web, status: int) -> None:
        server.special["/a.jpg"] = lambda asked: Answer(status)
        code(web, f"{server.url}/a.jpg")
        assert [asked.method for asked in server.asked] == ["HEAD", "GET"]

    def test_one_that_names_no_version_and_no_size_is_taken_as_it_comes(self, server: WebServer, web: Web) -> None:
        chunked = {"Transfer-Encoding": "chunked"}
        server.special["/a.jpg"] = lambda asked: Answer(200, b"", {**chunked, "Last-Modified": "then"})
        assert web.look(f"{server.url}/a.jpg") == Looked(0, "then")

    def test_a_version_with_letters_that_no_request_can_hold_is_looked_at_again(
        self, server: WebServer, web: Web
    ) -> None:
        server.special["/a.jpg"] = lambda asked: Answer(200, b"x", {"ETag": '"caf\xe9"'})
        looked = web.look(f"{server.url}/a.jpg")
        assert looked.version == "caf\xe9"
        assert web.look(f"{server.url}/a.jpg", known=looked) == looked

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            (Answer(404), "SOURCE_MISSING"),
            (Answer(401), "HOST_REFUSED"),
            (Answer(204), "HOST_REFUSED"),
            (Answer(451), "HOST_REFUSED"),
            (Answer(503), "HOST_BUSY"),
            (Answer(302, headers={"Location": "file:///etc/passwd"}), "REDIRECT_REFUSED"),
            (Answer(302, headers={"Location": "/a.jpg"}), "REDIRECT_REFUSED"),
            (Answer(200, headers={"Content-Length": str(1 << 40)}), "TOO_LARGE"),
            (Answer(206, headers={"Content-Range": f"bytes 0-63/{'9' * 5000}"}), "TOO_LARGE"),
            (Answer(416, headers={"Content-Range": f"bytes */{'9' * 5000}"}), "TOO_LARGE"),
            (Answer(200, headers={"Content-Length": "9" * 5000}), "HOST_UNREACHABLE"),
            (Answer(200, headers={"Content-Length": "-5"}), "HOST_UNREACHABLE"),
        ],
    )
    def test_what_cannot_be_had_is_named(self, server: WebServer, web: Web, answer: Answer, expected: str) -> None:
        server.special["/a.jpg"] = lambda asked: answer
        for sniff in (False, True):
            assert code(web, f"{server.url}/a.jpg", sniff) == expected

    @pytest.mark.parametrize(
        "location",
        ["http://[::1/x.jpg", "http://[foo]:99999/x.jpg", "http://localhost:abc/x.jpg", "/\x01.jpg", "http://:80/x"],
    )
    def test_a_redirect_to_what_is_no_address_is_refused_at_once(
        self, server: WebServer, web: Web, location: str
    ) -> None:
        server.special["/a.jpg"] = lambda asked: Answer(302, headers={"Location": location})
        assert code(web, f"{server.url}/a.jpg") == "REDIRECT_REFUSED"
        assert len(server.asked) == 1

    def test_a_host_that_is_not_there(self, web: Web) -> None:
        assert code(web, "http://no-such-host.invalid/a.jpg") == "HOST_UNREACHABLE"

    def test_a_redirect_is_followed(self, server: WebServer, web: Web, picture: bytes) -> None:
        server.files["/a.jpg"] = picture
        server.special["/old.jpg"] = lambda asked: Answer(301, headers={"Location": "/a.jpg"})
        assert web.look(f"{server.url}/old.jpg").size == len(picture)

    def test_no_cookie_is_sent_back(self, server: WebServer, web: Web) -> None:
        for path in ("/a.jpg", "/b.jpg"):
            server.special[path] = lambda asked: Answer(200, b"x", {"Set-Cookie": f"for={asked.path}; Path=/"})
            web.look(server.url.replace("localhost", "127.0.0.1") + path)
        assert [asked.headers.get("cookie") for asked in server.asked] == [None, None]

    def test_retry_after_is_waited_for(self, server: WebServer, web: Web, picture: bytes) -> None:
        server.files["/a.jpg"] = picture
        busy = [Answer(429, headers={"Retry-After": "1"})]
        server.special["/a.jpg"] = lambda asked: busy.pop() if busy else None
        began = time.monotonic()
        assert web.look(f"{server.url}/a.jpg").size == len(picture)
        assert time.monotonic() - began >= 1.0

    @pytest.mark.parametrize("words", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "9" * 5000, "-1", "soon"])
    def test_a_retry_after_that_means_nothing_is_no_end_of_the_run(
        self, server: WebServer, web: Web, picture: bytes, words: str
    ) -> None:
        server.files["/a.jpg"] = picture
        busy = [Answer(503, headers={"Retry-After": words})]
        server.special["/a.jpg"] = lambda asked: busy.pop() if busy else None
        assert web.look(f"{server.url}/a.jpg").size == len(picture)

    def test_a_host_that_is_busy_for_ever_is_given_up(self, server: WebServer, web: Web) -> None:
        for number in range(MOST_LOST + 20):
            server.special[f"/{number}.jpg"] = lambda asked: Answer(500)
            assert code(web, f"{server.url}/{number}.jpg") == "HOST_BUSY"
        assert len({asked.path for asked in server.asked}) == MOST_LOST

    def test_no_more_than_a_few_connections_go_to_one_host(self, server: WebServer, web: Web) -> None:
        def slow(asked: Request) -> Answer:
            time.sleep(0.05)
            return Answer(200, b"x")

        for number in range(40):
            server.special[f"/{number}.jpg"] = slow
        with ThreadPoolExecutor(40) as threads:
            list(threads.map(lambda number: web.look(f"{server.url}/{number}.jpg"), range(40)))
        assert 1 < server.most_at_once <= CONNECTIONS_A_HOST


class TestInnerNetworks:
    def test_are_not_asked_unless_it_is_allowed(self, server: WebServer, picture: bytes) -> None:
        server.files["/a.jpg"] = picture
        assert code(Web(patience=QUICK), f"{server.url}/a.jpg") == "ADDRESS_REFUSED"
        assert code(Web(patience=QUICK), server.url.replace("localhost", "127.0.0.1") + "/a.jpg") == "ADDRESS_REFUSED"
        assert server.asked == []

    def test_a_user_in_the_url_is_used(self, server: WebServer, web: Web, picture: bytes) -> None:
        server.files["/a.jpg"] = picture
        web.look(server.url.replace("://", "://me:secret@") + "/a.jpg")
        assert server.asked[0].headers["authorization"].startswith("Basic ")


class TestFetch:
    def test_writes_what_was_looked_at(self, server: WebServer, web: Web, picture: bytes, tmp_path: Path) -> None:
        server.files["/a.jpg"] = picture
        web.fetch(f"{server.url}/a.jpg", tmp_path / "a", web.look(f"{server.url}/a.jpg").version)
        assert (tmp_path / "a").read_bytes() == picture

    def test_names_what_changed_since_and_a_page_in_a_pictures_place(
        self, server: WebServer, web: Web, picture: bytes, tmp_path: Path
    ) -> None:
        url = f"{server.url}/a.jpg"
        server.files["/a.jpg"] = picture
        version = web.look(url).version
        server.files["/a.jpg"] = b"<!DOCTYPE html><p>Sign in."
        with pytest.raises(WebError) as caught:
            web.fetch(url, tmp_path / "a", version)
        assert caught.value.code == "SOURCE_CHANGED"
        with pytest.raises(WebError, match="a page") as caught:
            web.fetch(url, tmp_path / "a", web.look(url).version)
        assert caught.value.code == "UNDECODABLE"

    def test_an_etag_that_varies_from_answer_to_answer_is_no_change_where_time_and_size_stay(
        self, server: WebServer, web: Web, picture: bytes, tmp_path: Path
    ) -> None:
        url, said = f"{server.url}/a.jpg", varying(picture)
        server.special["/a.jpg"] = lambda asked: next(said)
        looked = web.look(url)
        web.fetch(url, tmp_path / "a", looked.version)
        assert (tmp_path / "a").read_bytes() == picture
        assert not web.has_changed(url, looked.size, looked.version)
        assert web.has_changed(url, looked.size + 1, looked.version)

    def test_an_etag_that_varies_is_told_where_nothing_else_shows_a_change(
        self, server: WebServer, web: Web, picture: bytes, tmp_path: Path
    ) -> None:
        said = varying(picture, modified="")
        server.special["/a.jpg"] = lambda asked: next(said)
        with pytest.raises(WebError, match="another ETag in each answer, and no Last-Modified") as caught:
            web.fetch(f"{server.url}/a.jpg", tmp_path / "a", "none")
        assert caught.value.code == "SOURCE_CHANGED"

    @pytest.mark.parametrize("by_head", [{}, {"ETag": '"x-gzip"'}, {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}])
    def test_a_server_that_names_another_version_by_head_has_not_changed(
        self, server: WebServer, web: Web, picture: bytes, tmp_path: Path, by_head: dict[str, str]
    ) -> None:
        url, etag = f"{server.url}/a.jpg", ['"x"']

        def answer(asked: Request) -> Answer:
            return Answer(200, picture, by_head if asked.method == "HEAD" else {"ETag": etag[0]})

        server.special["/a.jpg"] = answer
        looked = web.look(url)
        web.fetch(url, tmp_path / "a", looked.version)
        assert (tmp_path / "a").read_bytes() == picture
        assert not web.has_changed(url, looked.size, looked.version)

    def test_a_file_that_is_written_again_and_again_is_changed(
        self, server: WebServer, web: Web, picture: bytes, tmp_path: Path
    ) -> None:
        answers = (Answer(200, picture, {"ETag": f'"{n}"', "Last-Modified": f"at {n}"}) for n in range(100))
        server.special["/a.jpg"] = lambda asked: next(answers)
        with pytest.raises(WebError) as caught:
            web.fetch(f"{server.url}/a.jpg", tmp_path / "a", "none")
        assert caught.value.code == "SOURCE_CHANGED"

    def test_what_broke_off_is_fetched_again(self, server: WebServer, web: Web, picture: bytes, tmp_path: Path) -> None:
        cut = [Answer(200, picture[:50], {"Content-Length": str(len(picture)), "Connection": "close"})]
        server.special["/a.jpg"] = lambda asked: cut.pop() if cut else Answer(200, picture)
        web.fetch(f"{server.url}/a.jpg", tmp_path / "a", "")
        assert (tmp_path / "a").read_bytes() == picture

    def test_by_tls_with_a_private_ca(self, authority: trustme.CA, picture: bytes, tmp_path: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        with WebServer(context) as server:
            server.files["/a.jpg"] = picture
            trusting = Web(allow_private=True, ca=str(tmp_path / "ca.pem"), patience=QUICK)
            assert trusting.look(f"{server.url}/a.jpg").size == len(picture)
            with pytest.raises(WebError, match="SOURCE_CA_BUNDLE"):
                Web(allow_private=True, patience=QUICK).look(f"{server.url}/a.jpg")
