"""The engine through obstore (Rust's object_store): programs that put the objects of a batch in threads.

It answers only for what the store itself took or refused. All else the caller sends by boto3: names that obstore
cannot carry, large files, files that have changed, and whatever befell a connection.
"""

from __future__ import annotations

import logging
import marshal
import re
import tempfile
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from imagehaul.child_process import bound_script
from imagehaul.records import ObjectOptions, SendResult, Upload
from imagehaul.store.ca import authority_file
from imagehaul.store.clients import WHO_ASKS
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import classify, of_upload
from imagehaul.store.obstore_options import NOTHING_FOUND_OUT, ObstoreOptions
from imagehaul.store.proxies import is_this_machine
from imagehaul.store.retry import StallMonitor, answer, silence
from imagehaul.text import printable
from imagehaul.transfer.program_output import listen
from imagehaul.transfer.program_run import StandingProgram

_LOG = logging.getLogger(__name__)
_OLDEST = (0, 12)
_SENDER = Path(__file__).with_name("obstore_program.py")
_LARGEST = 8 * 1024 * 1024
"""Bytes: each file is in memory while it is sent. Larger ones cost boto3 little CPU for what they hold."""
_READY_SECONDS = 20.0
_CODE, _MESSAGE = re.compile(r"<Code>(\w+)</Code>"), re.compile(r"<Message>([^<]*)</Message>")
_UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class ObstoreUnusableError(Exception):
    """Why obstore cannot be used, as a clause."""


@dataclass(frozen=True, slots=True)
class Obstore:
    """`packages`: the folder that it is imported from."""

    packages: Path
    version: str


def find_obstore() -> Obstore:
    """Raises ObstoreUnusableError. Imports nothing: what a broken package does, it does in the sender's process."""
    try:
        spec, found = find_spec("obstore"), version("obstore")
    except (PackageNotFoundError, ValueError):
        spec, found = None, ""
    if spec is None or not spec.origin:
        raise ObstoreUnusableError("obstore is not installed (pip install 'imagehaul[obstore]')")
    numbers = re.match(r"(\d+)\.(\d+)", found)
    if not numbers or (int(numbers[1]), int(numbers[2])) < _OLDEST:
        raise ObstoreUnusableError(f"obstore is {found}, and 0.12 or newer is needed")
    return Obstore(Path(spec.origin).parent.parent, found)


@dataclass(frozen=True)
class ObstoreSender:
    """Programs that have done their work wait for the next batch, until `close`.

    Every body goes with its SHA-256. With `found_out.crc64` it is a CRC, in a tenth of the time, where nobody can
    change both on their way: by TLS, and within this machine. `processors`: that one program may use.
    """

    found: Obstore
    store: Store
    bucket: str
    options: ObjectOptions
    threads: int
    retries: int
    processors: int = 1
    found_out: ObstoreOptions = NOTHING_FOUND_OUT
    _idle: deque[_Sender] = field(default_factory=deque)
    _closed: threading.Event = field(default_factory=threading.Event)

    @property
    def _address(self) -> tuple[str, bool]:
        return self.found_out.address or self.store.address(self.bucket)

    def check(self) -> None:
        """Starts it with nothing to send. Raises ObstoreUnusableError where it does not become ready."""
        _, in_host = self._address
        if self.store.terms.expected_owner:
            raise ObstoreUnusableError("obstore has no header for EXPECTED_BUCKET_OWNER")
        if in_host and "." in self.bucket:
            raise ObstoreUnusableError("obstore cannot write a bucket with a dot into the host's name")
        report = _Report([])
        try:
            self._run([], report, None, StallMonitor(threading.Event(), _READY_SECONDS, refusals=1))
        except OSError as error:
            report.noise = str(error)
        if not report.ready:
            raise ObstoreUnusableError(f"obstore does not run ({printable(report.noise) or 'without a word'})")

    def send(self, uploads: Sequence[Upload], scratch: Path, monitor: StallMonitor) -> dict[str, SendResult]:
        """Answers by key, for those of the uploads that the store took, or refused with a reason."""
        able = [upload for upload in uploads if upload.size <= _LARGEST and upload.sha256 and can_carry(upload.key)]
        report = _Report(able, self.found_out.crc64)
        if not able or monitor.over:
            return {}
        try:
            self._run(able, report, scratch, monitor)
        except OSError as error:
            report.noise = str(error)
        said = report.answers()
        if missing := len(able) - len(said):
            _LOG.warning(
                "obstore did not send %d of %d objects: boto3 does. Its last words: %s",
                missing,
                len(able),
                printable(report.noise) or "none",
            )
        return said

    def close(self) -> None:
        """Ends the programs that wait. One at work is ended by whoever waits for it."""
        self._closed.set()
        with suppress(IndexError):
            while True:
                self._idle.pop().program.end()

    def _run(self, uploads: Sequence[Upload], report: _Report, scratch: Path | None, monitor: StallMonitor) -> None:
        # A file: one that reads no orders cannot keep us waiting.
        with tempfile.NamedTemporaryFile(dir=scratch, prefix="orders-") as orders:
            marshal.dump(self._orders(uploads), orders)
            orders.flush()
            monitor.begin()
            sender = self._ordered(Path(orders.name).absolute())
            try:
                listen(sender.program, report, monitor)
            finally:
                if report.done and report.is_whole:
                    self._idle.append(sender)
                else:
                    sender.program.end()
        if self._closed.is_set():
            self.close()

    def _ordered(self, file: Path) -> _Sender:
        """One that waited takes the orders where it lives, and the keys are still those that it was started with."""
        environment = {
            **self.store.environment(),
            "SSL_CERT_FILE": authority_file(self.store.ca),
            # As of s5cmd: threads that wait for each other cost more than they send.
            "TOKIO_WORKER_THREADS": str(self.processors),
        }
        with suppress(IndexError):
            while True:
                sender = self._idle.pop()
                if sender.environment == environment:
                    with suppress(OSError):
                        sender.program.order(file)
                        return sender
                sender.program.end()
        sender = _Sender(StandingProgram(bound_script(_SENDER), environment), environment)
        try:
            sender.program.order(file)
        except OSError:
            sender.program.end()
            raise
        return sender

    def _orders(self, uploads: Sequence[Upload]) -> dict[str, Any]:
        """All but the keys and the CA, which are in the environment."""
        url, in_host = self._address
        options = self.options
        crc64 = self.found_out.crc64 and (url.startswith("https://") or is_this_machine(url))
        config = {
            "endpoint": url,
            "virtual_hosted_style_request": str(in_host).lower(),
            "server_side_encryption": options.sse,
            "sse_kms_key_id": options.sse_kms_key_id,
            "request_payer": "true" if self.store.terms.request_payer else "",
            # Of the signature's own digest SeaweedFS takes no notice.
            "checksum_algorithm": "crc64nvme" if crc64 else "sha256",
            "unsigned_payload": "true" if crc64 else "",
        }
        attributes = {"Cache-Control": options.cache_control, "Storage-Class": options.storage_class}
        return {
            "packages": str(self.found.packages),
            "bucket": self.bucket,
            "config": {name: value for name, value in config.items() if value},
            # The monitor says when it takes too long; obstore's own limit of half a minute would end slow lines.
            "client": {
                "allow_http": url.startswith("http://"),
                "connect_timeout": "10s",
                "timeout": "1h",
                "user_agent": WHO_ASKS,
            },
            "retries": self.retries,
            "threads": self.threads,
            "attributes": {name: value for name, value in attributes.items() if value},
            "objects": [
                (upload.key, upload.file, upload.content_type, upload.size, upload.sha256, upload.version)
                for upload in uploads
            ],
        }


def can_carry(key: str) -> bool:
    """Whether obstore sends this key as it is: it drops a '/' at either end, and refuses the others."""
    return {"", ".", ".."}.isdisjoint(key.split("/")) and not _UNFIT.search(key)


@dataclass(frozen=True)
class _Sender:
    """A program, and what it was started with: its keys among it."""

    program: StandingProgram
    environment: Mapping[str, str] = field(repr=False)


class _Report:
    """What the sender has said, line by line.

    `stopped`: the store named a fault that every object will have. `noise`: the last word of trouble.
    """

    def __init__(self, uploads: Sequence[Upload], etags_are_md5s: bool = False) -> None:
        self._etags_are_md5s = etags_are_md5s
        self.ready = False
        self.done = False
        self.stopped = False
        self.noise = ""
        self._uploads = uploads
        self._silent = set(range(len(uploads)))
        self._taken: dict[str, SendResult] = {}
        self._taken_otherwise: dict[str, SendResult] = {}
        self._refused: dict[str, SendResult] = {}

    @property
    def is_whole(self) -> bool:
        """Whether there was a word on each object, and nothing that speaks against the next."""
        return not self._silent and not self.stopped

    def answers(self) -> dict[str, SendResult]:
        """By key, without what only boto3 can answer for.

        Not every store compares what it gets with the digests that are sent with it. Where an ETag is the MD5 of what
        was planned, another object's that is not shows that other bytes arrived; where none is, ETags are no MD5s, if
        nobody knows better.
        """
        taken = self._taken if self._etags_are_md5s else self._taken or self._taken_otherwise
        return {**taken, **self._refused}

    def read(self, line: bytes) -> SendResult | None:
        """What the line says of one object. Where the store did not say it, it is as good as no answer."""
        said = line.decode("utf-8", "replace")
        if said == "ready":
            self.ready = True
            return None
        if said == "done":
            self.done = True
            return None
        number, _, words = said.partition(" ")
        if not (number.isdecimal() and number.isascii() and int(number) in self._silent) or self.stopped:
            self.noise = said or self.noise
            return None
        self._silent.remove(int(number))
        upload = self._uploads[int(number)]
        word, _, etag = words.partition(" ")
        if word == "sent":
            taken = self._taken if etag == upload.md5 else self._taken_otherwise
            taken[upload.key] = SendResult(upload.key, "sent")
            return taken[upload.key]
        self.noise = words
        code = _CODE.search(words)
        if code is None:
            return silence(upload.key)
        verdict, message = of_upload(classify(code[1]), upload.key), _MESSAGE.search(words)
        self.stopped = verdict.action == "stop" and not verdict.may_be_of_one_object
        if self.stopped:
            return None
        self._refused[upload.key] = answer(upload.key, verdict, f"{code[1]} ({message[1]})" if message else code[1])
        return self._refused[upload.key]
