"""The source moves, or is not whole: what was not looked at is unknown, and never delivered in a mixture.

The oracle is a plain boto3 client: every image that lies in the store is whole, one version of it or the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagehaul.delivery import work
from imagehaul.delivery.batch import BatchWork
from imagehaul.delivery.run import WorkResult
from imagehaul.errors import HaulError, SourceError
from tests.support.commanding import COMMAND
from tests.support.delivering import Target, draw
from tests.support.fault_proxy import Answer, Exchange, Fault, FaultProxy, cut_off
from tests.support.running import run_watched
from tests.support.sending import plain_client, stored

IMAGES = 24
ONE_LANE = pytest.mark.parametrize("engine", ["s5cmd", pytest.param("boto3", marks=pytest.mark.attack)])
"""Where the engine plays a small part, or none: `make attack` has the other too."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(IMAGES):
        draw(tmp_path / "source" / f"f{number % 3}" / f"{number:02d}.jpg", seed=number)
    return tmp_path / "source"


def at(moment: str, act: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Acts once: when the plan is made, or when the first batch has been rendered and is about to be sent."""
    done: list[bool] = []

    def once() -> None:
        if not done:
            done.append(True)
            act()

    if moment == "after the plan":
        plain = work.work_through

        def work_through(*arguments: Any) -> WorkResult:
            once()
            return plain(*arguments)

        monkeypatch.setattr(work, "work_through", work_through)
    else:
        send = BatchWork._send

        def then_send(self: BatchWork, *arguments: object) -> object:
            once()
            return send(self, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(BatchWork, "_send", then_send)


def rewritten(file: Path) -> None:
    """Other bytes of the same length, in the same inode, with the old time."""
    status = file.stat()
    data = bytearray(file.read_bytes())
    data[-20] ^= 0xFF
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced(file: Path) -> None:
    other = file.with_suffix(".new")
    draw(other, seed=77, format="JPEG")
    other.rename(file)


def grown(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"more")


def truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def emptied(file: Path) -> None:
    os.truncate(file, 0)


def deleted(file: Path) -> None:
    file.unlink()


def turned_into_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def its_folder_gone(file: Path) -> None:
    file.parent.rename(file.parent.with_name("elsewhere"))


CHANGES = [rewritten, replaced, grown, truncated, emptied, deleted, turned_into_a_folder, its_folder_gone]
MOMENTS = [("after the plan", "s5cmd"), ("after rendering", "s5cmd"), ("after rendering", "boto3")]
AT_EVERY_MOMENT = (rewritten, truncated, deleted)
"""The others have one moment each here, in turn, and all of them in `make attack`."""


def expected_of(change: Callable[[Path], None], moment: str, engine: str) -> tuple[str, str]:
    if change in (deleted, its_folder_gone):
        return "failed", "SOURCE_GONE"
    if change is turned_into_a_folder and moment == "after the plan":
        return "rejected", "UNREADABLE"
    if change is rewritten and moment == "after the plan":
        return "delivered", ""
    # Of a file that was rewritten neither size nor time tells, and the time of its change does.
    return "failed", "SOURCE_CHANGED"


@pytest.mark.parametrize(
    ("change", "moment", "engine"),
    [
        pytest.param(
            change,
            *at,
            marks=[] if change in AT_EVERY_MOMENT or turn == number % len(MOMENTS) else pytest.mark.attack,
        )
        for number, change in enumerate(CHANGES)
        for turn, at in enumerate(MOMENTS)
    ],
)
def test_a_file_that_moves_under_the_run_is_named_and_never_delivered_in_a_mixture(
    change: Callable[[Path], None],
    moment: str,
    engine: str,
    source: Path,
    target: Target,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    victim = source / "f1" / "07.jpg"
    before = {str(file.relative_to(source)): file.read_bytes() for file in source.rglob("*.jpg")}
    at(moment, lambda: change(victim), monkeypatch)
    settings = {"use_s5cmd_when_available": engine == "s5cmd"}
    summary = target.deliver(source, settings=settings)
    monkeypatch.undo()
    after = {str(file.relative_to(source)): file.read_bytes() for file in source.rglob("*.jpg") if file.is_file()}
    there = {key: data for key, data in stored(target.store, target.bucket).items() if "/images/" in key}
    for key, data in there.items():
        path = key.partition("/images/")[2]
        assert data in (before[path], after.get(path)), path
    rows = {row["source_path"]: row for row in target.ledger(summary.run) if row["kind"] == "image"}
    assert len(rows) == IMAGES
    row = rows["f1/07.jpg"]
    if change is rewritten and moment == "after the plan":
        # It was so before anything was read of it: the run delivered what it saw, and knows of no other.
        before["f1/07.jpg"] = after["f1/07.jpg"]
    for path, each in rows.items():
        if each["status"] in ("delivered", "unchanged"):
            # One that had gone by the end was sent whole before.
            assert there[f"{target.root}images/{path}"] == before[path]
    assert (row["status"], row["code"]) == expected_of(change, moment, engine), row
    assert summary.published == (summary.exit_status == 0) == (row["status"] != "failed")


def test_a_mount_that_vanishes_in_mid_run_empties_no_index(
    source: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.deliver(source)
    first = target.current()["run"]
    for number in range(IMAGES):
        draw(source / "new" / f"{number}.jpg", seed=100 + number)
    at("after the plan", lambda: source.rename(source.with_name("away")), monkeypatch)
    summary = target.deliver(source)
    assert (summary.exit_status, summary.counts.failed, summary.counts.unchanged) == (1, IMAGES, IMAGES)
    assert target.current()["run"] == first
    assert first in summary.refused


@pytest.mark.parametrize("what", ["an empty folder", "a folder of other files", "one folder of three"])
def test_a_source_that_is_not_whole_is_not_published(what: str, source: Path, target: Target) -> None:
    """A vanished mount leaves an empty folder in its place."""
    target.deliver(source)
    first = target.current()
    if what == "one folder of three":
        (source / "f0").rename(source.parent / "f0")
        (source / "f1").rename(source.parent / "f1")
        summary = target.deliver(source)
        assert (summary.exit_status, summary.published) == (1, False)
        assert "MAX_VANISHED" in summary.refused
        assert "--allow-loss" in summary.refused
    else:
        source.rename(source.with_name("away"))
        source.mkdir()
        if what == "a folder of other files":
            (source / "lost+found.txt").write_text("nothing")
        with pytest.raises(SourceError):
            target.deliver(source)
    assert target.current() == first


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_share_of_unreadable_files_is_not_published(
    share: float, source: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so that the files are broken in place of closed."""
    for number in range(int(IMAGES * share)):
        (source / f"f{number % 3}" / f"{number:02d}.jpg").write_bytes(b"\0" * 4096)
    summary = target.deliver(source)
    assert (summary.exit_status, summary.published) == (1, False)
    assert summary.counts.rejected == int(IMAGES * share)
    assert "MAX_REJECTED" in summary.refused
    assert "current.json" not in target.listed()


def test_a_missing_heic_decoder_empties_no_index(
    source: Path, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image
    from pillow_heif import register_heif_opener

    register_heif_opener()
    for file in list(source.rglob("*.jpg"))[:12]:
        Image.open(file).save(file.with_suffix(".heic"))
        file.unlink()
    target.deliver(source)
    first = target.current()
    for file in source.rglob("*.heic"):
        os.utime(file)
    # Rendering has processes of its own: they look for modules where this one does.
    (tmp_path / "without" / "pillow_heif").mkdir(parents=True)
    (tmp_path / "without" / "pillow_heif" / "__init__.py").write_text("raise ImportError('not here')")
    monkeypatch.syspath_prepend(tmp_path / "without")
    summary = target.deliver(source)
    assert {(reason.code, reason.images) for reason in summary.reasons} == {("DECODER_MISSING", 12)}
    assert (summary.exit_status, summary.published) == (1, False)
    assert "pillow-heif" in summary.reasons[0].message + summary.reasons[0].advice
    assert target.current() == first


WITHOUT_PRIVILEGES = """
import ctypes, os, sys
for capability in 1, 2:  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: with these root may read everything
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@ONE_LANE
@pytest.mark.parametrize("closed", ["a folder", "30 % of the files", "one file"])
def test_what_this_user_may_not_read(closed: str, engine: str, source: Path, target: Target, tmp_path: Path) -> None:
    files = sorted(source.rglob("*.jpg"))
    for path in {"a folder": [source / "f1"], "one file": files[:1]}.get(closed, files[:8]):
        path.chmod(0)
    keys = target.store.keys()
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PRIVILEGES, COMMAND, "deliver", source, "--dataset", "set",
         "--use-s5cmd-when-available", str(engine == "s5cmd")],
        env={
            "PATH": os.environ["PATH"], "HOME": str(tmp_path),
            "OBJECT_STORE_URL": target.store.url, "REMOTE_SAVE": f"s3://{target.bucket}/pre/",
            "AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        },
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    (source / "f1").chmod(0o755)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == (0 if closed == "one file" else 1), done.stderr
    assert ("current.json" in target.listed()) == (closed == "one file")
    if closed == "a folder":
        assert "'f1/'" in done.stderr
        assert "Permission denied" in done.stderr
        assert stored(target.store, target.bucket).keys() <= {f"{target.root}.imagehaul/lock.json"}
    else:
        assert "UNREADABLE" in done.stdout + done.stderr


# --- A bucket as the source


@pytest.fixture
def pictures_in_store(target: Target) -> dict[str, bytes]:
    client = plain_client(target.store)
    pictures = {f"{number:02d}.jpg": b"" for number in range(IMAGES)}
    for number, name in enumerate(pictures):
        pictures[name] = draw(Path("/dev/shm") / f"imagehaul-test-{os.getpid()}.jpg", seed=number)
        client.put_object(Bucket=target.bucket, Key=f"src/{name}", Body=pictures[name])
    (Path("/dev/shm") / f"imagehaul-test-{os.getpid()}.jpg").unlink()
    return pictures


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("page", ["broken off", "an error", "without a token"])
def test_a_source_listing_that_is_cut_off_publishes_nothing(
    page: str, target: Target, pictures_in_store: dict[str, bytes]
) -> None:
    def choose(exchange: Exchange) -> Fault | None:
        first = exchange.lists and exchange.query.get("prefix") == ["src/"]
        return fault if first else None

    def fault(exchange: Exchange) -> None:
        if page == "broken off":
            return cut_off(exchange)
        said = exchange.forward()
        body = said.body.replace(b"<IsTruncated>false", b"<IsTruncated>true")
        if page == "an error":
            body = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>no</Message></Error>"
        headers = [item for item in said.headers if item[0].lower() != "content-length"]
        return exchange.reply(Answer(said.status, [*headers, ("Content-Length", str(len(body)))], body))

    with FaultProxy(target.store, choose) as proxy:
        through = Target(proxy.store, target.bucket)
        with pytest.raises(HaulError) as refused:
            through.deliver(f"s3://{target.bucket}/src/")
        assert proxy.hit
        assert len(str(refused.value).splitlines()) <= 3
        proxy.store.renew()
    assert "current.json" not in target.listed()
    assert target.listed("images/") == []


@pytest.mark.parametrize("change", ["replaced", "deleted"])
def test_an_object_that_moves_under_the_run_is_named(
    change: str, target: Target, pictures_in_store: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client = plain_client(target.store)
    other = draw(tmp_path / "other.jpg", seed=90)

    def act() -> None:
        if change == "deleted":
            client.delete_object(Bucket=target.bucket, Key="src/07.jpg")
        else:
            client.put_object(Bucket=target.bucket, Key="src/07.jpg", Body=other)

    at("after rendering", act, monkeypatch)
    summary = target.deliver(f"s3://{target.bucket}/src/")
    assert (summary.exit_status, summary.published, summary.counts.failed) == (1, False, 1)
    [row] = [row for row in target.ledger(summary.run) if row["code"] and row["kind"] == "image"]
    assert row["source_path"] == "07.jpg"
    assert row["code"] in ("SOURCE_CHANGED", "SOURCE_GONE")
    for key, data in stored(target.store, target.bucket).items():
        if "/images/" in key:
            name = key.rpartition("/")[2]
            assert data in (pictures_in_store[name], other if name == "07.jpg" else b"")


# --- Many


def peak_of_a_dry_run(source: Path, target: Target, folder: Path) -> tuple[int, dict[str, Any]]:
    """The most memory of the command in MiB, and what it said."""
    keys = target.store.keys()
    ended, peak = run_watched(
        [COMMAND, "deliver", source, "--dataset", "set", "--dry-run", "--json"],
        {
            "PATH": os.environ["PATH"], "HOME": str(folder),
            "OBJECT_STORE_URL": target.store.url, "REMOTE_SAVE": f"s3://{target.bucket}/pre/",
            "AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        },
        folder,
    )  # fmt: skip
    assert ended.status == 0, ended.log
    return peak, json.loads(ended.out.splitlines()[-1])


@pytest.mark.attack
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("folders", "files"), [(1, 200_000), (10_000, 3)])
def test_a_source_of_many_is_planned_in_flat_memory(folders: int, files: int, target: Target, tmp_path: Path) -> None:
    """The plan of all of them, by a dry run; and one that sends is stopped by nothing but time."""
    data = draw(tmp_path / "one.jpg", size=(8, 8))
    for folder in range(folders):
        here = tmp_path / "source" / f"{folder:05d}"
        here.mkdir(parents=True)
        for number in range(files):
            (here / f"{number:06d}.jpg").write_bytes(data)
    few = tmp_path / "few"
    draw(few / "one.jpg", size=(8, 8))
    small, _ = peak_of_a_dry_run(few, target, tmp_path)
    large, said = peak_of_a_dry_run(tmp_path / "source", target, tmp_path)
    print(
        f"\n{folders} folders, {files} files each: {said['seconds']:.1f} s, {large} MiB, and {small} MiB for one file"
    )
    assert said["planned"] == folders * files
    assert small > 30, "it was watched"
    assert large - small < 400
    if folders * files < 50_000:
        summary = target.deliver(tmp_path / "source", settings={"skip_image_thumbnail_generation": True})
        assert (summary.counts.delivered, summary.exit_status) == (folders * files, 0)
        assert len(target.listed("images/")) == folders * files
