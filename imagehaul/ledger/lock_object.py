"""The lock object of a data set: `.imagehaul/lock.json`, which names the run that works.

It is written by conditional PUT where the store can (`imagehaul/store/conditional_writes.py`).
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from imagehaul.errors import Code, StoreError
from imagehaul.layout import RUN_NAME, Layout
from imagehaul.store.conditional_writes import Capabilities
from imagehaul.store.errors import classify, is_missing
from imagehaul.store.explanations import Verb, explain
from imagehaul.store.files import OwnFiles

_PROCESSES = Path("/proc")
CLOCK_SECONDS = 1.0
"""The resolution of Last-Modified."""
LONGEST = 3600.0
"""Seconds. A lease that says it is longer is not one that we wrote."""


@dataclass(frozen=True, slots=True)
class Holder:
    """What the lock object says. `seconds`: how long the lease lasts from its last renewal.

    `machine` and `born` (the start of the process) tell whether the process is still there, on the same machine;
    `born` is "" where batches may go on without it. `stopping`: its workers elsewhere are to send nothing more.
    """

    run: str
    host: str
    pid: int
    since: str
    token: str
    seconds: float
    machine: str = ""
    born: str = ""
    renewals: int = 0
    released: bool = False
    stopping: bool = False

    @classmethod
    def of_this_process(cls, run: str, seconds: float, work_dies_with_it: bool = True) -> Holder:
        """`work_dies_with_it`: nothing of the run goes on anywhere when this process has ended."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        pid = os.getpid()
        born = _born(pid) if work_dies_with_it else ""
        return cls(run, socket.gethostname(), pid, since, secrets.token_hex(8), seconds, _machine(), born)

    @property
    def is_dead(self) -> bool:
        """It ran on this very machine, and its process is no longer there. False: not known."""
        here = bool(self.born) and self.machine == _machine()
        return here and _born(self.pid) != self.born and not _is_hidden(self.pid)

    def __str__(self) -> str:
        run = f"run {self.run}" if RUN_NAME.fullmatch(self.run) else self.run
        return f"{run} on {self.host} (process {self.pid})"


@dataclass(frozen=True, slots=True)
class Found:
    """`age`: seconds from its writing to this answer, both by the store's clock; 0 where its answers have no date."""

    holder: Holder
    etag: str
    modified: datetime
    age: float = field(default=0.0, compare=False)


class LockObject:
    """The lock object of one data set. `seconds`: of a lease that does not say how long it lasts."""

    def __init__(self, files: OwnFiles, layout: Layout, capabilities: Capabilities, seconds: float) -> None:
        self.uri = layout.uri(f"{layout.marks}lock.json")
        self.dataset = layout.dataset
        self.capabilities = capabilities
        self._files, self._client = files, files.client
        self._bucket = layout.bucket
        self._key = f"{layout.marks}lock.json"
        self._clock_key = f"{layout.marks}clock"
        self._seconds = seconds

    def read(self) -> Found | None:
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key)
            body = answer["Body"].read()
        except Exception as error:
            if is_missing(error):
                return None
            raise self._explained(error, "read") from error
        said = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        age = (parsedate_to_datetime(said) - answer["LastModified"]).total_seconds() if said else 0.0
        return Found(self._parsed(body), answer["ETag"], answer["LastModified"], age)

    def write_over(self, etag: str, holder: Holder) -> str:
        """Writes over the lock of that ETag, "" = where there is none. Gives the new ETag, or "" for a refusal.

        Where the store has no such condition nothing is written. Raises StoreError.
        """
        condition = self.capabilities.condition(etag)
        return self._put(holder, condition) if condition else ""

    def overwrite(self, holder: Holder) -> str:
        """Writes whatever lies there. Gives the new ETag. Raises StoreError."""
        return self._put(holder, {})

    def remove(self) -> bool:
        """Whether it is gone: some keys may not delete."""
        try:
            self._client.delete_object(Bucket=self._bucket, Key=self._key)
        except Exception as error:
            if classify(error).code == Code.ACCESS_DENIED:
                return False
            raise self._explained(error, "remove") from error
        return True

    def _put(self, holder: Holder, condition: dict[str, Any]) -> str:
        body = json.dumps(asdict(holder)).encode()
        try:
            return self._files.put(self._bucket, self._key, body, condition, ContentType="application/json")
        except Exception as error:
            raise self._explained(error, "write") from error

    def age(self, found: Found) -> float:
        """Seconds since the last renewal, both moments by the store's clock."""
        try:
            self._files.put(self._bucket, self._clock_key, b"")
            now = self._client.head_object(Bucket=self._bucket, Key=self._clock_key)["LastModified"]
        except Exception as error:
            raise self._explained(error, "write") from error
        return (now - found.modified).total_seconds() - CLOCK_SECONDS

    def _explained(self, error: Exception, verb: Verb) -> StoreError:
        return explain(error, verb, f"the lock {self.uri}", self._client.meta.endpoint_url)

    def _parsed(self, body: bytes) -> Holder:
        """What cannot be read is somebody's lease, too."""
        try:
            said = json.loads(body)
            types: dict[str, Callable[[Any], Any]] = {"str": str, "int": int, "float": float, "bool": bool}
            known = {
                column.name: types[str(column.type)](said[column.name])
                for column in fields(Holder)
                if column.name in said
            }
            holder = Holder(**known)
        except (ValueError, TypeError, KeyError):
            return Holder(
                "a run that left no readable name", "an unknown host", 0, "an unknown time", "", self._seconds
            )
        return holder if 0 < holder.seconds <= LONGEST else replace(holder, seconds=self._seconds)


def _machine() -> str:
    """This boot of this machine, and the world of process numbers that we live in; "" where it is not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - it leads to no path
    except OSError:
        return ""


def _born(pid: int) -> str:
    """When the process started, in the kernel's ticks; "" where it is not there, or is a zombie.

    https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    """
    try:
        state, *rest = (_PROCESSES / f"{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else rest[18]


def _is_hidden(pid: int) -> bool:
    """Whether it is there and not ours to see, as another user's where /proc is mounted with hidepid."""
    if os.access(_PROCESSES / f"{pid}/stat", os.R_OK):
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
