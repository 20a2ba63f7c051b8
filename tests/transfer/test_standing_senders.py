"""Programs of obstore that wait from batch to batch: started once, never with old keys, and ended with the engine."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil

from imagehaul.records import ObjectOptions, Upload
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from imagehaul.store.retry import StallMonitor
from imagehaul.transfer.engines import choose_engine
from imagehaul.transfer.obstore_engine import ObstoreSender, find_obstore
from tests.support.answering import Answer
from tests.support.misbehaving import STORED, Misbehaving
from tests.support.sending import QUICK, content_of, outcomes, stored, uploads_of
from tests.transfer.conftest import waiting_senders


def monitor() -> StallMonitor:
    return StallMonitor(threading.Event(), 10.0, refusals=8)


def batch_of(folder: Path, keys: list[str]) -> list[Upload]:
    folder.mkdir()
    return uploads_of(folder, keys)


def test_one_program_sends_batch_after_batch(store: Store, bucket: str, tmp_path: Path) -> None:
    batches = [batch_of(tmp_path / str(number), [f"{number}/a.jpg", f"{number}/b.jpg"]) for number in range(3)]
    with choose_engine(store, bucket, "obstore", 8, ObjectOptions(), QUICK) as engine:
        (checked,) = waiting_senders()
        assert [outcomes(engine.send(batch, tmp_path)) for batch in batches] == [[("sent", "")] * 2] * 3
        assert [program.pid for program in waiting_senders()] == [checked.pid]

    assert stored(store, bucket) == {upload.key: content_of(upload) for batch in batches for upload in batch}
    assert not waiting_senders()


def test_a_line_break_in_the_name_of_the_scratch_folder_is_part_of_it(
    store: Store, bucket: str, tmp_path: Path
) -> None:
    scratch = tmp_path / "odd\nname \udcff"
    scratch.mkdir()
    sender = ObstoreSender(find_obstore(), store, bucket, ObjectOptions(), 4, 0)
    said = sender.send(uploads_of(tmp_path, ["a.jpg"]), scratch, monitor())
    sender.close()
    assert list(said) == ["a.jpg"]


def test_batches_at_the_same_time_have_a_program_each(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=20)

    def answer(_: object) -> Answer:
        both.wait()
        return STORED

    with Misbehaving(answer) as server, choose_engine(server.store, "bucket", "obstore", 8, ObjectOptions()) as engine:
        batches = [batch_of(tmp_path / name, [name]) for name in ("a", "b")]
        with ThreadPoolExecutor(2) as threads:
            sent = [*threads.map(lambda batch: outcomes(engine.send(batch, tmp_path)), batches)]

        assert sent == [[("sent", "")]] * 2
        assert len(waiting_senders()) == 2
    assert not waiting_senders()


def test_one_that_was_killed_while_it_waited_is_replaced(store: Store, bucket: str, tmp_path: Path) -> None:
    with choose_engine(store, bucket, "obstore", 8, ObjectOptions(), QUICK) as engine:
        (killed,) = waiting_senders()
        killed.kill()
        psutil.wait_procs([killed], timeout=5)

        assert outcomes(engine.send(uploads_of(tmp_path, ["a.jpg"]), tmp_path)) == [("sent", "")]
        (other,) = waiting_senders()
        assert other.pid != killed.pid


def test_none_sends_with_keys_that_were_renewed_since(tmp_path: Path) -> None:
    with Misbehaving(lambda _: STORED) as server:
        first = ObstoreSender(find_obstore(), server.store, "bucket", ObjectOptions(), 4, 0)
        renewed = replace(first, store=replace(server.store, credentials=AccessKey("OTHER", "a-secret-key")))
        for sender in (first, renewed):
            sender.send(uploads_of(tmp_path, ["a.jpg"]), tmp_path, monitor())
        used = [request.headers["authorization"].split("Credential=")[1].split("/")[0] for request in server.requests]
        first.close()

    assert used == ["AKEXAMPLE", "OTHER"]
    assert not waiting_senders()


def test_a_sender_that_is_closed_leaves_none_behind_however_late(store: Store, bucket: str, tmp_path: Path) -> None:
    sender = ObstoreSender(find_obstore(), store, bucket, ObjectOptions(), 4, 0)
    sender.close()

    said = sender.send(uploads_of(tmp_path, ["a.jpg"]), tmp_path, monitor())

    assert list(said) == ["a.jpg"]
    assert not waiting_senders()
