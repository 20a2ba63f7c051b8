"""The fast engine: a folder of links whose paths are the keys, sent by one `s5cmd cp` for each content type.

It answers only for what s5cmd itself reported, and the caller sends the rest by boto3: names that a folder
cannot hold, and all that an s5cmd which dies, hangs or knows no way has left without a word.
"""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import orjson

from imagehaul.child_process import bound
from imagehaul.records import PART_SIZE, ObjectOptions, SendResult, Upload
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import classify, of_upload
from imagehaul.store.retry import StallMonitor, answer
from imagehaul.text import printable
from imagehaul.transfer.local_file import source_fault
from imagehaul.transfer.program_output import listen
from imagehaul.transfer.program_run import BoundRun

_LOG = logging.getLogger(__name__)
_IN_MEMORY = Path("/dev/shm")
"""Here links cost no disk, and a file system that knows no links or folds names is no obstacle."""

_LESS_COLLECTING = {"GOGC": "400"}
"""s5cmd leaves much garbage and holds little: a fifth of its time for 20 MB. https://go.dev/doc/gc-guide#GOGC"""


@dataclass(frozen=True)
class S5cmdSender:
    """`processors`: how many of them one s5cmd may use. One that has too many spends its time in handing them round."""

    binary: Path
    store: Store
    bucket: str
    options: ObjectOptions
    workers: int
    retries: int
    processors: int

    def send(self, uploads: Sequence[Upload], scratch: Path, monitor: StallMonitor) -> dict[str, SendResult]:
        """Answers by key, for some of the uploads. `scratch`: a folder for the links, where memory has no room."""
        said: dict[str, SendResult] = {}
        by_type = attrgetter("content_type")
        folder = None
        try:
            folder = _new_folder(scratch)
            for number, (content_type, group) in enumerate(groupby(sorted(uploads, key=by_type), by_type)):
                if not monitor.over:
                    links = _Links(folder / str(number))
                    said.update(links.add(group))
                    said.update(self._copy(links, content_type, monitor))
        except OSError as error:
            _LOG.warning("s5cmd could not be run, boto3 sends in its place: %s", printable(str(error)))
        finally:
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
        return said

    def _copy(self, links: _Links, content_type: str, monitor: StallMonitor) -> dict[str, SendResult]:
        if not links.keys:
            return {}
        report = _Report(links, self.bucket)
        monitor.begin()
        environment = {**self.store.environment(), **_LESS_COLLECTING, "GOMAXPROCS": str(self.processors)}
        with BoundRun(bound(self._command(links, content_type)), links.folder.parent, environment) as run:
            listen(run, report, monitor)
        if missing := len(links.keys) - len(report.said):
            _LOG.warning(
                "s5cmd ended, or was ended, without a word on %d of %d objects: boto3 sends them. Its last words: %s",
                missing,
                len(links.keys),
                printable(report.noise) or "none",
            )
        return report.said

    def _command(self, links: _Links, content_type: str) -> list[str]:
        options = {
            "--content-type": content_type,
            "--cache-control": self.options.cache_control,
            "--storage-class": self.options.storage_class,
            "--sse": self.options.sse,
            "--sse-kms-key-id": self.options.sse_kms_key_id,
            "--part-size": str(PART_SIZE // 1024**2),
        }
        return [
            str(self.binary),
            *("--json", "--log", "info", "--numworkers", str(self.workers), "--retry-count", str(self.retries)),
            *self.store.s5cmd_options(),
            *("cp", "--raw"),
            *(word for option, value in options.items() if value for word in (option, value)),
            f"{links.folder.name}/",
            f"s3://{self.bucket}/",
        ]


def remove_stale_links() -> None:
    """Removes the links in memory of runs that were killed.

    A run in another container may look dead from here: its s5cmd then finds no files, and its boto3 sends them.
    """
    for folder in _IN_MEMORY.glob("imagehaul-links-*"):
        if not Path("/proc", folder.name.split("-")[2]).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _new_folder(scratch: Path) -> Path:
    name = f"imagehaul-links-{os.getpid()}-{uuid.uuid4().hex}"
    for place in (_IN_MEMORY, scratch):
        try:
            (place / name).mkdir(mode=0o700)
        except OSError:
            continue
        return place / name
    raise OSError(f"No folder can be made in {scratch}.")


class _Links:
    """A folder with a link for each upload that a folder can hold; `keys` has those.

    Symbolic links: a hard one would change the user's own file (its time of change, its number of links).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys: set[str] = set()

    def add(self, uploads: Iterable[Upload]) -> Iterator[tuple[str, SendResult]]:
        """Gives an answer for each file that is no longer as it was planned."""
        made: set[str] = set()
        root, here = str(self.folder), str(Path.cwd())
        for upload in uploads:
            parent, _, _ = upload.key.rpartition("/")
            if not {"", ".", ".."}.isdisjoint(upload.key.split("/")):
                continue  # the system would read another path in it
            if fault := source_fault(upload):
                yield upload.key, fault
                continue
            try:
                upload.key.encode()
                if parent not in made:
                    (self.folder / parent).mkdir(parents=True, exist_ok=True)
                    made.add(parent)
                target = upload.file if upload.file.startswith("/") else f"{here}/{upload.file}"
                os.symlink(target, f"{root}/{upload.key}")  # noqa: PTH211 - a tenth of a Path's time, for every object
            except (OSError, ValueError):
                continue  # no UTF-8, too long, a file and a folder of one name, or no room
            self.keys.add(upload.key)


class _Report:
    """What s5cmd has said, line by line.

    `stopped`: it named a fault that every object will have. `noise`: the last of what was no answer.
    https://github.com/peak/s5cmd/blob/v2.3.0/log/message.go
    """

    def __init__(self, links: _Links, bucket: str) -> None:
        self.said: dict[str, SendResult] = {}
        self.stopped = False
        self.done = False  # it ends with its work
        self.noise = ""
        self._keys = links.keys
        self._target = f"s3://{bucket}/"
        self._commands = {f"cp {links.folder.name}/{key} {self._target}{key}": key for key in links.keys}

    def read(self, line: bytes) -> SendResult | None:
        try:
            record = orjson.loads(line)
            error = record.get("error")
            if error is None:
                sent = SendResult(record["destination"].removeprefix(self._target), "sent")
            else:
                key = self._commands[record["command"]]
                verdict = of_upload(classify(error), key)
                self.stopped = self.stopped or (verdict.action == "stop" and not verdict.may_be_of_one_object)
                sent = answer(key, verdict, error)
        except (ValueError, TypeError, KeyError, AttributeError):
            sent = None
        if sent is None or sent.key not in self._keys or self.stopped:
            self.noise = line.decode("utf-8", "replace") or self.noise
            return None
        self.said[sent.key] = sent
        return sent
