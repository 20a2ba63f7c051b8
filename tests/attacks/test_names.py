"""Names that are awkward somewhere: each arrives byte for byte under its own key, or is rejected with its code.

Two oracles that are not ours: a plain boto3 client, and `rclone check --download`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from imagehaul.records import EngineName
from tests.support.delivering import Target, draw
from tests.support.sending import plain_client, stored

ENGINES = pytest.mark.parametrize("engine", get_args(EngineName))
ONE_LANE = pytest.mark.parametrize(
    "engine", ["s5cmd", *(pytest.param(engine, marks=pytest.mark.attack) for engine in get_args(EngineName)[1:])]
)
"""Where the engine plays a small part, or none: `make attack` has the others too."""
RCLONE = Path(sys.executable).with_name("rclone")

_PUNCTUATION = "!\"#$%&'()*+,-;:<=>?@[]^_`{|}~."
_ODD = (
*(f"{sign}.jpg" for sign in _PUNCTUATION if sign not in "."),
    *(f"in the {sign} middle.jpg" for sign in _PUNCTUATION),
    *(f"twice {sign}{sign}.jpg" for sign in _PUNCTUATION),
    " leading space.jpg", "trailing space .jpg", "two  spaces.jpg", "\tleading tab.jpg", "a tab\tin it.jpg",
    "a newline\nin it.jpg", "\nleading newline.jpg", "a return\rin it.jpg", "return and newline\r\n.jpg",
    "bell\x07.jpg", "one\x01.jpg", "escape\x1b[31mred.jpg", "delete\x7f.jpg", "next line\x85.jpg",
    "no-break\u00a0space.jpg", "wide\u3000space.jpg", "zero\u200bwidth.jpg", "mark\ufeff.jpg",
    "right\u202eto left.jpg", "line\u2028separator.jpg", "\u0130stanbul.jpg", "stra\u00dfe.jpg", "caf\u00e9.jpg",
    "cafe\u0301.jpg", "\u212bngstr\u00f6m.jpg", "\u00c5ngstr\u00f6m.jpg", "\u4e2d\u6587.jpg",
    "\u0645\u0631\u062d\u0628\u0627.jpg", "\u0e44\u0e17\u0e22.jpg", "\U0001f44d\U0001f3fd.jpg",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467.jpg", "\U00020000.jpg", "\ufffd.jpg", "\uffff.jpg", "CASE.jpg",
    "case.jpg", "Case.JPG", "case.JPEG", ".hidden.jpg", "..two dots.jpg", "...jpg", "dots..jpg", "-rf.jpg",
    "--help.jpg", "%2e%2e.jpg", "%41.jpg", "A.jpg", "%.jpg.jpg", "%zz.jpg", "100%25.jpg", "a+b.jpg", "a%20b.jpg",
    "a%2Fb.jpg", "a%00b.jpg", "https:example.jpg", "s3:bucket.jpg", "cp s3: s3:.jpg", "cp --raw a b #.jpg",
    "rm -rf *.jpg", "$HOME.jpg", "$(id).jpg", "`id`.jpg", "{{ x }}.jpg", "${x}.jpg", "%s%n.jpg",
    "'; DROP TABLE source; --.jpg", "<script>alert(1)<script>.jpg", "CON.jpg", "nul.jpg", "aux.png.jpg",
    "x.jpg.jpg", "x.jpg.png.jpg", "COM1.jpg", "current.json.jpg", "lock.json.jpg", "folder with space /inside.jpg",
    " folder/inside.jpg", "-folder/-inside.jpg", "f?/[a]*.jpg", "..f/..a.jpg", "f../a...jpg", "~/home.jpg",
    ".imagehaul/journal/x.jpg", "images/images/x.jpg", "thumbnails/x.jpg", "crops/x.jpg/0123456789abcdef.jpg",
    "deep/" * 40 + "x.jpg",
)  # fmt: skip
NAMES = tuple(dict.fromkeys(_ODD))
LONGEST_SEGMENT = 255
"""Of a file's name, and of a segment of a key in this store."""


def make(source: Path, names: list[str] | tuple[str, ...]) -> dict[str, bytes]:
    """A small picture for each name, whose bytes are like no other's."""
    made = {}
    plain = draw(source.parent / "one.jpg", size=(16, 16))
    for number, name in enumerate(names):
        data = plain + number.to_bytes(4, "big")
        file = source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        made[name] = data
    return made


def images(target: Target) -> dict[str, bytes]:
    root = f"{target.root}images/"
    there = stored(target.store, target.bucket)
    return {key.removeprefix(root): data for key, data in there.items() if key.startswith(root)}


@ENGINES
def test_every_awkward_name_arrives_byte_for_byte_under_its_own_key(
    engine: str, target: Target, tmp_path: Path
) -> None:
    assert len(NAMES) >= 60
    made = make(tmp_path / "source", NAMES)
    settings = {"transfer_engine": engine, "save_thumbnails_method": "both"}
    summary = target.deliver(tmp_path / "source", settings=settings)
    print(f"\n{engine}: {len(made)} names")
    assert images(target) == made
    assert (summary.counts.delivered, summary.exit_status) == (len(made), 0), summary.problems
    assert len(target.listed("thumbnails/")) == len(made)
    assert {row["source_path"] for row in target.ledger()} == set(made)
    assert {item["file_path"] for item in target.metadata()["media_items"]} == set(made)
    assert target.deliver(tmp_path / "source", settings=settings).nothing_changed


@ENGINES
def test_what_no_key_can_hold_is_rejected_with_its_code(engine: str, target: Target, tmp_path: Path) -> None:
    source = tmp_path / "source"
    prefix = f"{target.root}images/"
    room = 1024 - len(prefix)
    deep = "/".join(["d" * 200] * 4) + "/"
    long_name = "n" * (LONGEST_SEGMENT - 4) + ".jpg"
    expected = {
        "good.jpg": "",
        "back\\slash.jpg": "KEY_REWRITTEN",
        "folder\\with/inside.jpg": "KEY_REWRITTEN",
        deep + "k" * (room - len(deep) - 4 + 1) + ".jpg": "KEY_TOO_LONG",
        long_name: "",
        "m" * (LONGEST_SEGMENT - 8) + ".jpg": "",
    }
    made = make(source, list(expected))
    (source / os.fsdecode(b"\xff\xfe.jpg")).write_bytes(b"x")
    (source / os.fsdecode(b"\xae\x8a-")).mkdir()
    (source / os.fsdecode(b"\xae\x8a-/inside.jpg")).write_bytes(b"x")
    settings = {"transfer_engine": engine}
    summary = target.deliver(source, settings=settings, allow_loss=True)
    rows = {row["source_path"]: row for row in target.ledger(summary.run) if row["kind"] == "image"}
    expected |= {"\\xff\\xfe.jpg": "NAME_NOT_UTF8", "\\xae\\x8a-/inside.jpg": "NAME_NOT_UTF8"}
    assert set(rows) == set(expected)
    said = {path: row["code"] for path, row in rows.items()}
    assert said == expected
    there = images(target)
    for path, row in rows.items():
        if row["status"] == "delivered":
            assert there[path] == made[path]
        else:
            assert row["status"] == "rejected"
            assert row["message"]
    [thumbnail] = [
        row for row in target.ledger(summary.run) if row["source_path"] == long_name and row["kind"] == "thumbnail"
    ]
    assert (thumbnail["status"], thumbnail["code"]) == ("rejected", "KEY_TOO_LONG"), "Its name is longer by four."
    assert summary.published


@ENGINES
def test_a_key_of_1024_bytes_and_one_more(engine: str, target: Target, tmp_path: Path) -> None:
    """Without renditions, whose keys would be longer."""
    room = 1024 - len(f"{target.root}images/")
    deep = "/".join(["é" * 100] * 4) + "/"
    longest = deep + "k" * (room - len(deep.encode()) - 4)
    made = make(tmp_path / "source", ["a.jpg", f"{longest}.jpg", f"{longest}k.jpg"])
    settings = {"transfer_engine": engine, "skip_image_thumbnail_generation": True}
    summary = target.deliver(tmp_path / "source", settings=settings, allow_loss=True)
    rows = {row["source_path"]: row for row in target.ledger(summary.run)}
    assert rows[f"{longest}k.jpg"]["code"] == "KEY_TOO_LONG"
    assert rows["a.jpg"]["status"] == "delivered"
    # This store refuses a key of 1,024 bytes, which S3 allows: either way the ledger tells the truth.
    row = rows[f"{longest}.jpg"]
    there = images(target)
    assert (row["status"], row["code"]) in {("delivered", ""), ("rejected", "KEY_TOO_LONG")}
    assert (f"{longest}.jpg" in there) == (row["status"] == "delivered")
    assert all(there[name] == made[name] for name in there)


@ENGINES
def test_a_name_that_is_a_folder_among_the_thumbnails(engine: str, target: Target, tmp_path: Path) -> None:
    """`thumbnails/a.jpg.jpg` is a thumbnail, and the folder of another. Some stores cannot hold both."""
    made = make(tmp_path / "source", ["a.jpg", "a.jpg.jpg/b.jpg", "c.jpg"])
    settings = {"transfer_engine": engine}
    summary = target.deliver(tmp_path / "source", settings=settings, allow_loss=True)
    there = stored(target.store, target.bucket)
    for row in target.ledger(summary.run):
        if row["status"] == "delivered":
            assert row["key"] in there
            assert row["size"] == len(there[row["key"]])
        else:
            assert row["code"], row
    assert images(target) == made
    assert summary.exit_status == (0 if summary.counts.delivered == 3 else 1)


def test_keys_of_a_bucket_that_no_folder_could_have(target: Target, tmp_path: Path) -> None:
    """Odd names in the source bucket arrive as they are."""
    client = plain_client(target.store)
    data = draw(tmp_path / "one.jpg", size=(16, 16))
    good = [name for name in NAMES if "\\" not in name]
    for number, name in enumerate(good):
        client.put_object(Bucket=target.bucket, Key=f"src/{name}", Body=data + number.to_bytes(4, "big"))
    client.put_object(Bucket=target.bucket, Key="src2/lookalike.jpg", Body=data)
    summary = target.deliver(f"s3://{target.bucket}/src")
    there = images(target)
    assert set(there) == set(good)
    assert all(data == there[name][:-4] for name in good)
    assert (summary.counts.planned, summary.counts.delivered) == (len(good), len(good))


@ONE_LANE
def test_rclone_finds_no_difference(engine: str, target: Target, tmp_path: Path) -> None:
    # rclone itself takes these for others (https://rclone.org/overview/#encoding), or for each other.
    forms = Counter(unicodedata.normalize("NFC", name) for name in NAMES)
    strange = {*map(chr, range(32)), "\x7f", "\ufffd", "\uffff"}
    names = [name for name in NAMES if strange.isdisjoint(name) and forms[unicodedata.normalize("NFC", name)] == 1]
    make(tmp_path / "source", names)
    target.deliver(tmp_path / "source", settings={"transfer_engine": engine})
    keys = target.store.keys()
    found = subprocess.run(
        [RCLONE, "check", "--download", "--combined", "-", tmp_path / "source",
         f"there:{target.bucket}/{target.root}images"],
        env={
            "PATH": os.environ["PATH"], "RCLONE_CONFIG": os.devnull, "RCLONE_CONFIG_THERE_TYPE": "s3",
            "RCLONE_CONFIG_THERE_PROVIDER": "Other", "RCLONE_CONFIG_THERE_ENDPOINT": target.store.url,
            "RCLONE_CONFIG_THERE_ACCESS_KEY_ID": keys.access_key,
            "RCLONE_CONFIG_THERE_SECRET_ACCESS_KEY": keys.secret_key,
        },
        capture_output=True, timeout=120,
    )  # fmt: skip
    lines = found.stdout.decode().removesuffix("\n").split("\n")
    assert len(lines) == len(names), found.stderr.decode()[-2000:]
    assert {line for line in lines if not line.startswith("= ")} == set()
