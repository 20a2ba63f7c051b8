"""A list in the chain: every row delivered or named, and a rerun that sends what changed and nothing else."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagehaul.errors import SourceError
from imagehaul.sources.web import Web
from imagehaul.sources.web_client import WebPatience
from imagehaul.store.endpoint import Store
from tests.support.answering import Answer, Request
from tests.support.delivering import Target, draw
from tests.support.web_server import WebServer

WEB = {"allow_private_addresses": True}


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as started:
        yield started


def test_rows_of_every_place_are_delivered_and_only_a_changed_one_moves_again(
    tmp_path: Path, store: Store, bucket: str, server: WebServer
) -> None:
    pictures = {name: draw(tmp_path / name, seed=seed) for seed, name in enumerate(("a.jpg", "b.png", "c.jpg"))}
    store.client().put_object(Bucket=bucket, Key="in/b.png", Body=pictures["b.png"])
    server.files["/c.jpg?id=7&token=hush"] = pictures["c.jpg"]
    rows = [f"{tmp_path}/a.jpg", f"s3://{bucket}/in/b.png", f"{server.url}/c.jpg?id=7&token=hush", "gone.jpg"]
    listed = tmp_path / "list.txt"
    # The same row twice is one, also where it was signed anew.
    listed.write_text("\n".join([*rows, rows[0], rows[2].replace("hush", "new")]))
    server.files["/c.jpg?id=7&token=new"] = pictures["c.jpg"]
    target = Target(store, bucket)
    settings = {**WEB, "max_rejected": 0.5}

    first = target.deliver(listed, settings=settings)
    assert (first.counts.planned, first.counts.delivered, first.counts.rejected) == (4, 3, 1)
    assert first.exit_status == 0
    images = {key: content for key, content in target.stored().items() if key.startswith("images/")}
    assert sorted(images.values()) == sorted(pictures.values())
    assert f"images/{str(tmp_path)[1:]}/a.jpg" in images
    assert f"images/{bucket}/in/b.png" in images
    assert all("hush" not in line for line in (repr(target.ledger()), *target.lines.said, *target.lines.warned))

    asked = len(server.bodies())
    again = target.deliver(listed, settings=settings)
    assert (again.counts.unchanged, again.counts.objects) == (3, 0)
    assert len(server.bodies()) == asked, "no body is asked for where nothing changed"
    [last] = [request for request in server.asked if request.method == "HEAD"][-1:]
    assert last.headers["if-none-match"] == f'"{hashlib.md5(pictures["c.jpg"]).hexdigest()}"'
    assert all(b"hush" not in target.read(key) for key in target.listed(".imagehaul/"))

    server.files["/c.jpg?id=7&token=hush"] = draw(tmp_path / "new.jpg", seed=9)
    changed = target.deliver(listed, settings=settings)
    assert (changed.counts.delivered, changed.counts.unchanged, changed.counts.objects) == (1, 2, 2)


def test_two_rows_on_one_key_are_refused_and_both_named(tmp_path: Path, store: Store, bucket: str) -> None:
    draw(tmp_path / "a.jpg")
    draw(tmp_path / "b.jpg")
    (tmp_path / "list.csv").write_text("path,key\na.jpg,x.jpg\nb.jpg,x.jpg\n")
    with pytest.raises(SourceError, match=r"a.jpg' and '.*b.jpg' would both be 'x.jpg'"):
        Target(store, bucket).deliver(tmp_path / "list.csv")


def test_a_repeated_row_that_says_something_else_is_told(tmp_path: Path, store: Store, bucket: str) -> None:
    draw(tmp_path / "a.jpg")
    (tmp_path / "list.csv").write_text("path,camera\na.jpg,north\na.jpg,south\n")
    target = Target(store, bucket)
    summary = target.deliver(tmp_path / "list.csv")
    said = (
        "Several rows of the list say other metadata of one image (1 image, e.g. 'a.jpg'): "
        "the first row that says something counts."
    )
    assert said in target.lines.warned
    assert said in summary.warnings


def test_half_of_the_rows_unreachable_is_not_published(tmp_path: Path, store: Store, bucket: str) -> None:
    draw(tmp_path / "a.jpg")
    (tmp_path / "list.txt").write_text("a.jpg\nhttp://no-such-host.invalid/b.jpg\n")
    summary = Target(store, bucket).deliver(tmp_path / "list.txt")
    assert summary.exit_status == 1
    assert "MAX_REJECTED" in summary.refused


def be_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient = WebPatience(connect=2, read=2, pauses=(0.05,), longest_wait=0.1)
    monkeypatch.setattr(Web.__init__, "__defaults__", (False, "", impatient))


@pytest.mark.parametrize("status", [None, 503])
def test_what_was_delivered_stays_while_its_web_server_does_not_answer(
    tmp_path: Path, store: Store, bucket: str, server: WebServer, monkeypatch: pytest.MonkeyPatch, status: int | None
) -> None:
    """Its name comes from its bytes, so that it must be remembered too; a new one of that server is rejected."""
    be_impatient(monkeypatch)
    near = [f"{draw(tmp_path / name, seed=seed) and name}" for seed, name in enumerate(("a.jpg", "b.jpg"))]
    server.files |= {"/c": draw(tmp_path / "drawn.jpg", seed=7), "/d.jpg": draw(tmp_path / "drawn.jpg", seed=8)}
    listed, target = tmp_path / "list.txt", Target(store, bucket)
    listed.write_text("\n".join([*near, f"{server.url}/c", f"{server.url}/d.jpg"]))
    assert target.deliver(listed, settings=WEB).counts.delivered == 4
    before = target.stored()

    url = server.url
    if status:
        server.special |= dict.fromkeys(("/c", "/d.jpg", "/new.jpg"), lambda _: Answer(status))
    else:
        server.__exit__()
    listed.write_text(listed.read_text() + f"\n{url}/new.jpg\n")
    for _ in range(2):
        during = target.deliver(listed, settings={**WEB, "max_rejected": 0.3})
        assert (during.counts.unchanged, during.counts.rejected, during.counts.objects) == (4, 1, 0)
        assert during.exit_status == 0
        assert any("2 images could not be looked at now, e.g. 'localhost/c.jpg'" in line for line in during.warnings)
        assert {key: target.stored().get(key) for key in before if key.startswith("images/")}.items() <= before.items()


def test_what_the_store_lacks_is_failed_while_its_web_server_does_not_answer(
    tmp_path: Path, store: Store, bucket: str, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_impatient(monkeypatch)
    server.files["/a.jpg"] = draw(tmp_path / "drawn.jpg")
    (tmp_path / "list.txt").write_text(f"{server.url}/a.jpg\n")
    target = Target(store, bucket)
    assert target.deliver(tmp_path / "list.txt", settings=WEB).counts.delivered == 1
    for key in target.listed("images/"):
        store.client().delete_object(Bucket=bucket, Key=f"{target.root}{key}")
    server.special["/a.jpg"] = lambda _: Answer(503)
    summary = target.deliver(tmp_path / "list.txt", settings=WEB)
    assert (summary.counts.failed, summary.exit_status) == (1, 1)
    assert [row["code"] for row in target.ledger(summary.run) if row["kind"] == "image"] == ["HOST_BUSY"]


def test_of_a_server_whose_etags_vary_what_is_the_same_is_not_sent_again(
    tmp_path: Path, store: Store, bucket: str, server: WebServer
) -> None:
    (tmp_path / "list.txt").write_text(f"{server.url}/a.jpg\n")
    picture, numbers = draw(tmp_path / "a.jpg"), itertools.count()

    def answer(_: Request) -> Answer:
        return Answer(200, picture, {"ETag": f'"{next(numbers)}"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"})

    server.special["/a.jpg"] = answer
    target = Target(store, bucket)
    assert target.deliver(tmp_path / "list.txt", settings=WEB).counts.delivered == 1
    again = target.deliver(tmp_path / "list.txt", settings=WEB)
    assert (again.counts.failed, again.counts.objects) == (0, 0)

    picture = draw(tmp_path / "a.jpg", seed=7)
    assert target.deliver(tmp_path / "list.txt", settings=WEB).counts.objects == 2
    assert picture in target.stored().values()
