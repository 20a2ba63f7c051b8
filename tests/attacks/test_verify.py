"""Verification under attack: rot behind an unchanged ETag, a source that has only a part, listings that break off.

What was sent again is counted on the wire, and a plain boto3 client reads what lies in the store.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import urllib.parse
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagehaul.delivery.batch_threads import in_threads
from imagehaul.delivery.repair import verify_and_repair
from imagehaul.delivery.summary import Summary
from imagehaul.delivery.verification import Verification
from imagehaul.errors import HaulError
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store
from tests.support.answering import Answer, Request
from tests.support.commanding import COMMAND
from tests.support.delivering import Lines, Target, draw
from tests.support.fault_proxy import (
    Exchange,
    Fault,
    FaultProxy,
    TwoPages,
    cut_off,
    flips_on_the_way_back,
    says,
    without_a_token,
)
from tests.support.misbehaving import Misbehaving
from tests.support.running import run_watched
from tests.support.sending import plain_client, stored

IMAGES = 12
ENGINES = pytest.mark.parametrize("engine", ["s5cmd", "boto3"])
RUN = "20261122T101500Z-1f3a9c"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(IMAGES):
        draw(tmp_path / "source" / f"{number:02d}.jpg", size=(64, 48), seed=number)
    return tmp_path / "source"


@pytest.fixture
def target(store: Store, bucket: str, source: Path) -> Target:
    target = Target(store, bucket)
    assert target.deliver(source).published
    return target


def verified(
    target: Target, content: bool = False, repair: Path | str = "", engine: str = "s5cmd"
) -> tuple[Verification, Summary | None]:
    settings = Settings(
        remote_save=f"s3://{target.bucket}/{target.prefix}", workers=1, use_s5cmd_when_available=engine == "s5cmd"
    )
    return verify_and_repair(target.dataset, settings, target.store, Lines(), in_threads, content, str(repair))


@pytest.mark.parametrize("engine", ["s5cmd", pytest.param("boto3", marks=pytest.mark.attack)])
def test_rot_behind_an_unchanged_etag_is_found_and_sent_again(engine: str, target: Target, source: Path) -> None:
    rotten = {f"{target.root}images/03.jpg", f"{target.root}thumbnails/07.jpg.jpg"}
    sent: Counter[str] = Counter()

    def choose(exchange: Exchange) -> Fault | None:
        sent[exchange.key] += exchange.sends
        rots = exchange.method == "GET" and exchange.key in rotten and not sent[exchange.key]
        return flips_on_the_way_back if rots else None

    with FaultProxy(target.store, choose) as proxy:
        through = replace(target, store=proxy.store)
        assert verified(through)[0].exit_status == 0, "No listing can show it."
        found, _ = verified(through, content=True)
        assert (found.changed, found.proven, found.exit_status) == (2, 2 * IMAGES - 2, 1)
        assert {item.key for item in found.examples} == rotten
        after, summary = verified(through, content=True, repair=source, engine=engine)
        proxy.store.renew()
    assert (after.proven, after.exit_status) == (2 * IMAGES, 0)
    assert summary
    assert summary.exit_status == 0
    assert +sent == Counter(rotten), "Those two, once each, and no other."


@pytest.mark.attack
@ENGINES
def test_a_repair_from_a_part_of_the_source_says_what_it_could_not_repair(
    engine: str, target: Target, source: Path
) -> None:
    run, before = target.current()["run"], stored(target.store, target.bucket)
    lost = [f"{target.root}images/{number:02d}.jpg" for number in range(4)]
    for key in lost:
        plain_client(target.store).delete_object(Bucket=target.bucket, Key=key)
    for number in (2, 3, 4, 5, 6, 7, 8, 9):
        (source / f"{number:02d}.jpg").unlink()
    after, _ = verified(target, repair=source, engine=engine)
    there = stored(target.store, target.bucket)
    assert {key: there.get(key) for key in lost} == {
        **dict.fromkeys(lost),
        lost[0]: before[lost[0]],
        lost[1]: before[lost[1]],
    }
    assert (after.missing, after.exit_status) == (2, 1)
    assert [item.key for item in after.examples] == lost[2:]
    assert target.current()["run"] == run, "A part of the source is not published as if it were all."
    assert len(target.ledger()) == 2 * IMAGES


SECOND_PAGES: dict[str, Fault] = {
    "breaks off": cut_off,
    "is an error": says(500, "InternalError"),
    "is refused": says(403, "AccessDenied"),
    "loses its way": without_a_token,
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "breaks off" else pytest.mark.attack) for name in SECOND_PAGES]
)
def test_a_listing_whose_second_page_is_not_whole_is_unknown_and_not_missing(name: str, target: Target) -> None:
    def through(pages: TwoPages) -> Callable[[Exchange], Fault | None]:
        def choose(exchange: Exchange) -> Fault | None:
            folder = exchange.query.get("prefix", [""])[0]
            return pages if exchange.lists and folder.endswith(("images/", "thumbnails/")) else None

        return choose

    whole, broken = TwoPages(None), TwoPages(SECOND_PAGES[name])
    with FaultProxy(target.store, through(whole)) as proxy:
        assert verified(replace(target, store=proxy.store))[0].proven == 2 * IMAGES
        proxy.fault = through(broken)
        with pytest.raises(HaulError) as refused:
            verified(replace(target, store=proxy.store))
        proxy.store.renew()
    assert whole.asked >= 2
    assert broken.asked
    assert "missing" not in str(refused.value).splitlines()[0]
    assert 1 <= len(str(refused.value).splitlines()) <= 3


# --- Many


def simulated_store(rows: int, body: bytes) -> Callable[[Request], Answer]:
    """A data set of so many objects, all of the same bytes, as its pointer, its ledger and its listing tell it."""
    root = "pre/set/"
    digest, sha256 = hashlib.md5(body).hexdigest(), hashlib.sha256(body).hexdigest()
    keys = [f"{root}images/{number:07d}.jpg" for number in range(rows)]
    plain = {"kind": "image", "status": "delivered", "size": len(body), "etag": digest, "md5": digest, "sha256": sha256}
    table = pa.table({
        "key": keys, "source_path": [key.rpartition("/")[2] for key in keys],
        **{name: pa.array([value] * rows) for name, value in plain.items()},
    })  # fmt: skip
    out = io.BytesIO()
    pq.write_table(table, out)
    folder = f"{root}runs/{RUN}/ledger/"
    said = {"schema": 1, "run": RUN, "ledger": f"s3://bucket/{folder}", "counts": {}, "fingerprint": "",
            "time": "2026-11-22T10:15:00+00:00",
            "exports": {"json": f"s3://bucket/{root}exports/{RUN}/metadata.json"}}  # fmt: skip
    objects = {f"{root}current.json": json.dumps(said).encode(), f"{folder}part.parquet": out.getvalue()}

    def entry(key: str, size: int, etag: str) -> str:
        return (
            f"<Contents><Key>{key}</Key><LastModified>2026-11-22T10:15:00.000Z</LastModified>"
            f"<ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size></Contents>"
        )

    def answer(request: Request) -> Answer:
        parts = urllib.parse.urlsplit(request.path)
        key = urllib.parse.unquote(parts.path).removeprefix("/bucket").lstrip("/")
        asked = urllib.parse.parse_qs(parts.query)
        if "list-type" not in asked:
            data = objects.get(key, body)
            return Answer(
                200,
                data,
                {"ETag": f'"{hashlib.md5(data).hexdigest()}"', "Last-Modified": "Sun, 22 Nov 2026 10:15:00 GMT"},
            )
        prefix, start = asked.get("prefix", [""])[0], int(asked.get("continuation-token", ["0"])[0])
        found = keys if prefix == f"{root}images/" else [name for name in objects if name.startswith(prefix)]
        page = found[start : start + 1000]
        more = start + 1000 < len(found)
        next_page = f"<NextContinuationToken>{start + 1000}</NextContinuationToken>" if more else ""
        entries = "".join(entry(name, len(objects.get(name, body)), digest) for name in page)
        said = f"<Name>bucket</Name><IsTruncated>{str(more).lower()}</IsTruncated>{next_page}{entries}"
        return Answer(200, f"<ListBucketResult>{said}</ListBucketResult>".encode(), {"Content-Type": "application/xml"})

    return answer


def peak_of_verification(rows: int, content: bool, folder: Path) -> tuple[int, dict[str, Any]]:
    """The most memory of the command in MiB, and what it said."""
    with Misbehaving(simulated_store(rows, b"the same bytes" * 100)) as server:
        keys = server.store.keys()
        command = [COMMAND, "verify", "--dataset", "set", "--json", *(["--content"] if content else [])]
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "OBJECT_STORE_URL": server.store.url,
            "REMOTE_SAVE": "s3://bucket/pre/", "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        }  # fmt: skip
        ended, peak = run_watched(command, environment, folder)
    assert ended.status == 0, ended.log
    return peak, json.loads(ended.out.splitlines()[-1])


@pytest.mark.attack
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("content", "few", "many"), [(False, 5_000, 200_000), (True, 2_000, 30_000)])
def test_memory_does_not_grow_with_the_number_of_objects(content: bool, few: int, many: int, tmp_path: Path) -> None:
    small, _ = peak_of_verification(few, content, tmp_path)
    large, said = peak_of_verification(many, content, tmp_path)
    how = "with content" if content else "by listing"
    print(f"\n{how}: {small} MiB for {few:,} objects, {large} MiB for {many:,}, in {said['seconds']:.1f} s")
    assert said["proven"] == many
    assert small > 30, "it was watched"
    assert large - small < 200, f"{many - few:,} objects more"
