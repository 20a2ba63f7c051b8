"""A kill in the middle of a delivery from each kind of source: one rerun gives what an undisturbed delivery leaves.

The kill falls at half of the objects. What was in the store as it should be by then is not sent again.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from imagehaul.local.embedded_store import EmbeddedStore
from imagehaul.store.endpoint import Store
from tests.sources.test_archive import pack
from tests.support.campaign import Wire, draw_all, etags, state
from tests.support.delivering import Target
from tests.support.fault_proxy import Exchange, FaultProxy
from tests.support.running import Machine
from tests.support.web_server import WebServer

IMAGES = 24
OPTIONS = {"batch_size": 4, "workers": 2}
attack = pytest.mark.attack


@dataclass(frozen=True)
class Case:
    """A source, the settings that it is delivered with, and how many objects that sends."""

    source: Path | str
    settings: dict[str, Any] = field(default_factory=dict)
    objects: int = 2 * IMAGES

    @property
    def options(self) -> list[str]:
        said = {**OPTIONS, **self.settings}
        return [part for name, value in said.items() for part in (f"--{name.replace('_', '-')}", str(value).lower())]


@dataclass
class KillAt:
    """Kills at the numbered object that is sent."""

    number: int
    process: subprocess.Popen[str] | None = None
    sends: int = 0

    def __call__(self, exchange: Exchange) -> None:
        self.sends += exchange.sends
        if exchange.sends and self.sends == self.number and self.process:
            self.process.send_signal(signal.SIGKILL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = draw_all(tmp_path / "pictures", IMAGES)
    (folder / "object_annotations.csv").unlink()
    return folder


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as started:
        yield started


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.jpg"))}


def put_all(store: Store, bucket: str, prefix: str, folder: Path) -> None:
    for name, content in pictures(folder).items():
        store.client().put_object(Bucket=bucket, Key=prefix + name, Body=content)


@pytest.fixture
def case(
    request: pytest.FixtureRequest, folder: Path, tmp_path: Path, store: Store, bucket: str, server: WebServer
) -> Iterator[Case]:
    kind = request.param
    if kind in ("zip", "tar.gz"):
        yield Case(pack(tmp_path / f"set.{kind}", pictures(folder)))
    elif kind == "in place":
        put_all(store, bucket, "in/", folder)
        yield Case(f"s3://{bucket}/in", {"originals": "in_place"}, IMAGES)
    elif kind == "another store":
        with EmbeddedStore(tmp_path / "partner") as partner:
            partner.make_bucket("partner")
            put_all(partner.store(), "partner", "in/", folder)
            (tmp_path / ".aws").mkdir()
            (tmp_path / ".aws" / "credentials").write_text(
                f"[partner]\naws_access_key_id={partner.access_key}\naws_secret_access_key={partner.secret_key}\n"
            )
            yield Case(
                "s3://partner/in",
                {"source_object_store_url": partner.store().url, "source_aws_profile": "partner"},
            )
    else:
        server.files |= {f"/{name}": content for name, content in pictures(folder).items()}
        put_all(store, bucket, "in/", folder)
        rows = [[f"{server.url}/{name}", f"{folder}/{name}", f"s3://{bucket}/in/{name}"] for name in pictures(folder)]
        listed = [row[0 if kind == "the web" else number % 3] for number, row in enumerate(rows)]
        (tmp_path / "list.txt").write_text("\n".join(listed))
        yield Case(tmp_path / "list.txt", {"allow_private_addresses": True})


@pytest.mark.parametrize(
    "case",
    [
        "tar.gz",
        *(pytest.param(kind, marks=attack) for kind in ("zip", "list", "the web", "another store", "in place")),
    ],
    indirect=True,
)
def test_a_kill_in_the_middle_is_made_whole_by_one_rerun_that_sends_nothing_twice(
    case: Case, tmp_path: Path, store: Store, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / ".aws" / "credentials"))
    undisturbed = Target(store, bucket, prefix="undisturbed/")
    settings = {**OPTIONS, **case.settings}
    assert undisturbed.deliver(case.source, settings=settings).counts.objects == case.objects

    target, machine, kill = Target(store, bucket, prefix="killed/"), Machine(tmp_path), KillAt(case.objects // 2)
    with FaultProxy(store, kill) as proxy:
        kill.process = machine.start(replace(target, store=proxy.store), case.source, "boto3", *case.options)
        kill.process.communicate(timeout=120)
    assert kill.process.returncode == -signal.SIGKILL
    assert machine.left() == []
    assert "current.json" not in target.listed()

    expected = etags(undisturbed)
    there = {key for key, etag in etags(target).items() if expected.get(key) == etag}
    wire = Wire(target.root)
    with FaultProxy(store, wire) as proxy:
        summary = replace(target, store=proxy.store).deliver(case.source, settings=settings)
        proxy.store.renew()
    assert summary.exit_status == 0, summary.problems
    assert state(target) == state(undisturbed)
    assert there.isdisjoint(wire.sent)
    assert len(wire.sent) + len(there & set(state(target)["objects"])) == case.objects
