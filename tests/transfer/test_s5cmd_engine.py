"""The engine through s5cmd: what an s5cmd that lies, dies or hangs can do, and what it must never see."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from imagehaul.records import ObjectOptions, SendResult
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from imagehaul.store.retry import StallMonitor
from imagehaul.transfer import s5cmd_engine as transfer_s5cmd
from imagehaul.transfer.engines import Engine, choose_engine
from imagehaul.transfer.s5cmd_engine import S5cmdSender, remove_stale_links
from imagehaul.transfer.s5cmd_program import find_s5cmd
from tests.support.answering import Answer
from tests.support.misbehaving import STORED, Misbehaving, silent_until
from tests.support.sending import QUICK, content_of, outcomes, sender_of, stored, uploads_of

pytestmark = pytest.mark.every_store

SAY_SENT = """
    def say_sent(key):
        print('{"operation":"cp","success":true,"source":"x","destination":"%s%s"}' % (sys.argv[-1], key), flush=True)
"""


def fake(folder: Path, script: str) -> Path:
    """An s5cmd that does what `script` says, in Python; `say_sent(key)` claims success."""
    file = folder / "s5cmd"
    header = f"#!{sys.executable}\nimport os, sys, time\n"
    file.write_text(header + textwrap.dedent(SAY_SENT) + textwrap.dedent(script))
    file.chmod(0o755)
    return file


def engine_with(binary: Path, store: Store, bucket: str) -> Engine:
    engine = choose_engine(store, bucket, "s5cmd", 8, ObjectOptions(), QUICK)
    assert isinstance(engine.fast, S5cmdSender)
    return replace(engine, fast=replace(engine.fast, binary=binary))


def monitor(stall_seconds: float = 5.0) -> StallMonitor:
    return StallMonitor(threading.Event(), stall_seconds, refusals=8)


def sender(store: Store, bucket: str, binary: Path | None = None) -> S5cmdSender:
    return S5cmdSender(binary or find_s5cmd().binary, store, bucket, ObjectOptions(), 4, 1, 1)


@pytest.fixture
def in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for /dev/shm."""
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr(transfer_s5cmd, "_IN_MEMORY", folder)
    return folder


@pytest.fixture
def silent_store() -> Iterator[Misbehaving]:
    over = threading.Event()
    with Misbehaving(silent_until(over)) as server:
        yield server
        over.set()


# -- an s5cmd that cannot be trusted ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        "",
        "sys.exit(3)",
        "print('all is well')",
        'print(\'{"operation":"cp","succ\', end=\'\')',
        "print('[1]'); print('null'); print('{}'); print('{\"destination\": 7}'); print('{\"error\": 7}')",
        "os.write(1, bytes(range(256)) * 100)",
        'print(\'{"operation":"cp","command":"cp x y","error":"SlowDown: x status code: 503"}\', file=sys.stderr)',
        "say_sent('of somebody else')",
        "os.kill(os.getpid(), 9)",
        "os.close(1); os.close(2); time.sleep(60)",
        "raise RuntimeError('panic')",
    ],
)
def test_what_s5cmd_does_not_answer_for_is_sent_all_the_same(
    store: Store, bucket: str, tmp_path: Path, script: str, caplog: pytest.LogCaptureFixture
) -> None:
    uploads = uploads_of(tmp_path, ["a.jpg", "b/c.jpg"])

    sent = engine_with(fake(tmp_path, script), store, bucket).send(uploads, tmp_path)

    assert outcomes(sent) == [("sent", "")] * 2
    assert stored(store, bucket) == {upload.key: content_of(upload) for upload in uploads}
    assert "without a word on 2 of 2 objects" in caplog.text


def test_what_it_claims_is_its_word_and_no_proof(store: Store, bucket: str, tmp_path: Path) -> None:
    engine = engine_with(fake(tmp_path, "say_sent('a.jpg')"), store, bucket)

    assert outcomes(engine.send(uploads_of(tmp_path, ["a.jpg"]), tmp_path)) == [("sent", "")]
    assert stored(store, bucket) == {}


@pytest.mark.parametrize(("cores", "share"), [(8, "4"), (3, "1"), (1, "1")])
def test_the_two_that_run_at_a_time_share_the_cores(
    store: Store, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, share: str
) -> None:
    monkeypatch.setattr("imagehaul.transfer.engines.usable_cores", lambda: cores)
    told = tmp_path / "told"
    binary = fake(tmp_path, f"open({str(told)!r}, 'w').write(os.environ['GOMAXPROCS']); say_sent('a.jpg')")

    engine_with(binary, store, bucket).send(uploads_of(tmp_path, ["a.jpg"]), tmp_path)

    assert told.read_text() == share


def test_one_that_hangs_is_ended_and_the_rest_sent(store: Store, bucket: str, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    binary = fake(tmp_path, f"open({str(pid)!r}, 'w').write(str(os.getpid())); say_sent('a.jpg'); time.sleep(60)")
    engine = engine_with(binary, store, bucket)
    engine = replace(engine, retry=replace(engine.retry, patience=replace(QUICK, stall_seconds=1.0)))

    sent = engine.send(uploads_of(tmp_path, ["a.jpg", "b.jpg"]), tmp_path)

    assert outcomes(sent) == [("sent", "")] * 2
    assert list(stored(store, bucket)) == ["b.jpg"]
    assert not psutil.pid_exists(int(pid.read_text()))


def test_one_that_is_slow_but_sends_is_left_to_work(tmp_path: Path, store: Store) -> None:
    script = """
        with open(os.devnull, "wb", 0) as line:
            for _ in range(8):
                time.sleep(0.3)
                line.write(bytes(2_000_000))
        say_sent("a.jpg")
    """
    said = sender(store, "bucket", fake(tmp_path, script)).send(uploads_of(tmp_path, ["a.jpg"]), tmp_path, monitor(1.0))

    assert said == {"a.jpg": SendResult("a.jpg", "sent")}


def test_one_that_cannot_be_started_leaves_all_to_boto3(store: Store, bucket: str, tmp_path: Path) -> None:
    engine = engine_with(tmp_path / "nothing", store, bucket)

    assert outcomes(engine.send(uploads_of(tmp_path, ["a.jpg"]), tmp_path)) == [("sent", "")]
    assert list(stored(store, bucket)) == ["a.jpg"]


def test_killed_alone_it_leaves_the_rest_to_boto3(tmp_path: Path) -> None:
    calm = threading.Event()

    def answer(_: object) -> Answer:
        calm.wait(60)
        return STORED

    with Misbehaving(answer) as server:
        engine = choose_engine(server.store, "bucket", "s5cmd", 8, ObjectOptions(), QUICK)
        answers: list[SendResult] = []
        work = threading.Thread(target=lambda: answers.extend(engine.send(uploads_of(tmp_path, ["a", "b"]), tmp_path)))
        work.start()
        os.kill(sender_of(os.getpid(), "s5cmd").pid, signal.SIGKILL)
        calm.set()
        work.join()

    assert outcomes(answers) == [("sent", "")] * 2


# -- our death, and our secrets --------------------------------------------------------------------------------------


def test_secrets_are_in_no_argument_and_in_no_file(silent_store: Misbehaving, tmp_path: Path, in_memory: Path) -> None:
    secret, token = "the-secret-key", "the-session-token"
    store = replace(silent_store.store, credentials=AccessKey("AKEXAMPLE", secret, token))
    uploads = uploads_of(tmp_path, ["a.jpg"])
    stop = threading.Event()
    ended = StallMonitor(stop, 60.0, refusals=8)
    work = threading.Thread(target=sender(store, "bucket").send, args=(uploads, tmp_path, ended))
    work.start()
    s5cmd = sender_of(os.getpid(), "s5cmd")

    assert secret in s5cmd.environ()["AWS_SECRET_ACCESS_KEY"]
    arguments = " ".join(s5cmd.cmdline())
    assert "AKEXAMPLE" not in arguments
    assert secret not in arguments
    assert token not in arguments
    files = [file for folder in (tmp_path, in_memory) for file in folder.rglob("*") if file.is_file()]
    assert not [file for file in files if secret.encode() in file.read_bytes()]
    stop.set()
    work.join()


def test_no_variable_of_ours_redirects_it(
    store: Store, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("S3_ENDPOINT_URL", "AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_CA_BUNDLE", "AWS_REGION"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    said = sender(store, bucket).send(uploads_of(tmp_path, ["a.jpg"]), tmp_path, monitor())

    assert said == {"a.jpg": SendResult("a.jpg", "sent")}


# -- the folder of links ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["a//b.jpg", "/a.jpg", "a/", "./a.jpg", "a/../b.jpg", "..", "x" * 256, "", "a\0b", "taken/inside.jpg"]
)
def test_what_a_folder_cannot_hold_is_left_to_boto3(tmp_path: Path, in_memory: Path, key: str) -> None:
    first, other = uploads_of(tmp_path, ["taken", key])
    with Misbehaving(lambda _: STORED) as server:
        said = sender(server.store, "bucket").send([first, other], tmp_path, monitor())

    assert said == {"taken": SendResult("taken", "sent")}
    assert [request.path for request in server.requests] == ["/bucket/taken"]


def test_the_source_s_own_files_are_not_touched(store: Store, bucket: str, tmp_path: Path) -> None:
    [upload] = uploads_of(tmp_path, ["a.jpg"])
    before = Path(upload.file).stat()

    sender(store, bucket).send([upload], tmp_path, monitor())

    after = Path(upload.file).stat()
    assert (after.st_ctime_ns, after.st_nlink) == (before.st_ctime_ns, before.st_nlink)


@pytest.mark.parametrize("place", ["memory", "scratch"])
def test_links_are_made_where_there_is_room_and_are_removed(
    store: Store, tmp_path: Path, in_memory: Path, place: str
) -> None:
    scratch = tmp_path / "scratch with a * in its name"
    scratch.mkdir()
    if place == "scratch":
        in_memory.rmdir()
    where = in_memory if place == "memory" else scratch
    told = tmp_path / "told"
    binary = fake(tmp_path, f"open({str(told)!r}, 'w').write(os.getcwd()); say_sent(os.listdir(sys.argv[-2])[0])")

    said = sender(store, "bucket", binary).send(uploads_of(tmp_path, ["a.jpg"]), scratch, monitor())

    assert said == {"a.jpg": SendResult("a.jpg", "sent")}
    assert Path(told.read_text()).parent == where
    assert list(where.iterdir()) == []


def test_no_room_for_links_at_all_leaves_everything_to_boto3(store: Store, tmp_path: Path, in_memory: Path) -> None:
    in_memory.rmdir()

    assert sender(store, "bucket").send(uploads_of(tmp_path, ["a"]), tmp_path / "not there", monitor()) == {}


def test_links_of_killed_runs_are_removed_and_those_of_others_kept(in_memory: Path) -> None:
    dead = subprocess.Popen(["/bin/true"])
    dead.wait()
    for name in (f"imagehaul-links-{dead.pid}-a", f"imagehaul-links-{os.getpid()}-b", "something else"):
        (in_memory / name / "0").mkdir(parents=True)

    remove_stale_links()

    assert sorted(folder.name for folder in in_memory.iterdir()) == [
        f"imagehaul-links-{os.getpid()}-b",
        "something else",
    ]


def test_a_file_that_vanishes_as_s5cmd_walks_costs_the_others_nothing(
    store: Store, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that leads nowhere ends s5cmd's walk; what it had not come to is sent by boto3."""
    uploads = uploads_of(tmp_path, ["a.jpg", "b.jpg", "c.jpg"])
    command = S5cmdSender._command

    def late(self: S5cmdSender, *rest: Any) -> list[str]:
        Path(uploads[0].file).unlink(missing_ok=True)
        return command(self, *rest)

    monkeypatch.setattr(S5cmdSender, "_command", late)
    sent = engine_with(find_s5cmd().binary, store, bucket).send(uploads, tmp_path)

    assert outcomes(sent) == [("failed", "SOURCE_GONE"), ("sent", ""), ("sent", "")]
    assert sorted(stored(store, bucket)) == ["b.jpg", "c.jpg"]
