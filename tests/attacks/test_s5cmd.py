"""s5cmd lies, or is not there: what it did not send is sent by boto3 or named, and what it falsely claims is found.

Through the whole delivery. The oracle is a plain boto3 client: each image in the store is the source's, and every row
of the ledger that claims one is true.
"""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagehaul.delivery.summary import Summary
from imagehaul.transfer.s5cmd_program import S5cmd, find_s5cmd
from tests.support.delivering import Target, draw
from tests.support.sending import stored

IMAGES = 12
HEADER = """
import json, os, subprocess, sys
real, argv = sys.argv[1], sys.argv[2:]
links, bucket = argv[-2], argv[-1]

def keys():
    found = [os.path.join(root, name) for root, _, names in os.walk(links) for name in names]
    return sorted(os.path.relpath(file, links) for file in found)

def say_sent(key):
    print(json.dumps({"operation": "cp", "success": True, "source": "x", "destination": bucket + key}), flush=True)

def say_failed(key, error):
    said = {"operation": "cp", "command": f"cp {links}{key} {bucket}{key}", "error": error}
    print(json.dumps(said), file=sys.stderr, flush=True)

def send(reported):
    return subprocess.run([real, *argv], stdout=None if reported else subprocess.DEVNULL).returncode
"""


@dataclass(frozen=True)
class Lie:
    """What it does, and what code the images get that it left out; "" where all are delivered all the same."""

    script: str
    code: str = ""


SENT_OTHER_BYTES = """
for key in keys():
    path = os.path.join(links, key)
    data = bytearray(open(path, "rb").read())
    data[len(data) // 2] ^= 255
    os.unlink(path)
    open(path, "wb").write(data)
sys.exit(send(True))
"""
LIES = {
    "exits with 0 and says nothing": Lie(""),
    "exits with 1 and says nothing": Lie("sys.exit(1)"),
    "sends all and says nothing": Lie("send(False)"),
    "prints garbage": Lie("os.write(1, bytes(range(256)) * 50); print('all is well'); print('[1]'); print('{}')"),
    "prints half a line of JSON": Lie('print(\'{"operation":"cp","success":true,"destina\', end="")'),
    "dies of a signal": Lie("os.kill(os.getpid(), 9)"),
    "claims all and sends nothing": Lie("for key in keys(): say_sent(key)", "NOT_PROVEN"),
    "claims half and sends nothing": Lie("for key in keys()[::2]: say_sent(key)", "NOT_PROVEN"),
    "claims what nobody asked for": Lie("for key in keys(): say_sent('elsewhere/' + key)"),
    "sends other bytes and claims all": Lie(SENT_OTHER_BYTES, "NOT_PROVEN"),
    "sends all and says that it failed": Lie(
        "send(False)\nfor key in keys(): say_failed(key, 'Odd: no. status code: 400')"
    ),
    "sends nothing and says that it failed": Lie(
        "for key in keys(): say_failed(key, 'Odd: no. status code: 400')", "STORE_REFUSED"
    ),
    "says that all files have gone": Lie(
        "for key in keys(): say_failed(key, f'given object {key} not found')", "SOURCE_GONE"
    ),
}
IN_EVERY_RUN = ("prints half a line of JSON", "claims half and sends nothing")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(IMAGES):
        draw(tmp_path / "source" / f"f{number % 3}" / f"{number:02d}.jpg", size=(64, 48), seed=number)
    return tmp_path / "source"


def said_truly(target: Target, source: Path, summary: Summary) -> None:
    """Each image is delivered, and lies there byte for byte, or is named; whatever the sender said."""
    there = stored(target.store, target.bucket)
    files = {str(file.relative_to(source)): file.read_bytes() for file in source.rglob("*.jpg")}
    rows = [row for row in target.ledger(summary.run) if row["kind"] == "image"]
    assert {row["source_path"] for row in rows} == set(files)
    for row in rows:
        whole = there.get(row["key"]) == files[row["source_path"]]
        if row["status"] in ("delivered", "unchanged"):
            assert whole, row
        elif row["code"] != "RENDITION_FAILED":
            assert row["code"], row
            assert not whole, row
    assert (summary.exit_status == 0) == summary.published == all(row["status"] != "failed" for row in rows)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in IN_EVERY_RUN else pytest.mark.attack) for name in LIES]
)
def test_an_s5cmd_that_lies(
    name: str, source: Path, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lie, real = LIES[name], find_s5cmd()
    script, liar = tmp_path / "liar.py", tmp_path / "s5cmd"
    script.write_text(HEADER + textwrap.dedent(lie.script))
    liar.write_text(f'#!/bin/sh\nexec {sys.executable} -S {script} {real.binary} "$@"\n')
    liar.chmod(0o755)
    monkeypatch.setattr("imagehaul.transfer.engines.find_s5cmd", lambda: S5cmd(liar, real.version))
    summary = target.deliver(source)
    assert summary.engine == "s5cmd"
    said_truly(target, source, summary)
    codes = {row["code"] for row in target.ledger(summary.run) if row["status"] == "failed"}
    assert codes - {"RENDITION_FAILED"} == ({lie.code} if lie.code else set())
    assert ("current.json" in target.listed()) == (not lie.code)
    monkeypatch.undo()
    again = target.deliver(source)
    assert (again.exit_status, again.published or again.nothing_changed) == (0, True)
    if again.published:
        said_truly(target, source, again)


@pytest.mark.parametrize(
    ("what", "why"),
    [
        pytest.param("none", "no s5cmd is installed", marks=pytest.mark.attack),
        ("an old one", "is v1.4.0-d7a0dda, and v2.2 or newer is needed"),
        pytest.param("another program", "does not say its version", marks=pytest.mark.attack),
        pytest.param("one for another machine", "does not run", marks=pytest.mark.attack),
    ],
)
def test_an_s5cmd_that_is_not_good_enough_is_named_and_boto3_delivers(
    what: str, why: str, source: Path, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    programs = {"an old one": "#!/bin/sh\necho v1.4.0-d7a0dda\n", "another program": "#!/bin/sh\necho hello\n"}
    if what != "none":
        (folder / "s5cmd").write_text(programs.get(what, "\x7fELF of another world"))
        (folder / "s5cmd").chmod(0o755)
    monkeypatch.setattr("imagehaul.transfer.s5cmd_program.files", lambda _: [])
    monkeypatch.setattr("imagehaul.transfer.s5cmd_program._is_script", lambda _: False)
    monkeypatch.setenv("PATH", str(folder))
    summary = target.deliver(source)
    said_truly(target, source, summary)
    assert (summary.engine, summary.counts.delivered) == ("boto3", IMAGES)
    [line] = [line for line in target.lines.said if line.startswith("boto3 sends")]
    assert why in line
