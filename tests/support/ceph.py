"""A whole Ceph with its RADOS Gateway on loopback: no Docker, no root, no systemd; all data in memory.

Debian 12: apt-get install --no-install-recommends radosgw ceph-mon ceph-osd (61 MB to fetch, 269 MB on disk). It starts
in some 15 seconds. What it shows that SeaweedFS does not: right conditions that are refused, quotas, virtual hosts.
"""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.servers import ServedStore, free_port, running, wait_for_http

PROGRAMS = ("radosgw", "ceph-mon", "ceph-osd", "ceph", "monmaptool", "radosgw-admin")
_KEY, _SECRET = "IMAGEHAULKEY", "imagehaul-secret"
_MEMORY = 6 * 1024**3
"""Bytes that the store says it has; it takes what is written."""


def missing_programs() -> list[str]:
    return [program for program in PROGRAMS if not shutil.which(program)]


@contextmanager
def serving_ceph(folder: Path) -> Iterator[ServedStore]:
    """`folder`: for its files; its path must be short, since sockets lie in it."""
    cluster, port = _Cluster(folder), free_port()
    cluster.configure(port)
    with ExitStack() as stack:
        stack.enter_context(running(folder, "mon", cluster.daemon("ceph-mon", "-i", "a")))
        cluster.wait_for("mon", "stat", seconds=60)
        cluster.run("ceph", "osd", "new", cluster.osd)
        cluster.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", cluster.osd, "--setuser", "", "--setgroup", "")
        stack.enter_context(running(folder, "osd", cluster.daemon("ceph-osd", "-i", "0")))
        cluster.wait_for("osd", "stat", says="1 up", seconds=60)
        gateway = [shutil.which("radosgw") or "", "-c", str(cluster.file), "-n", "client.rgw", "-f"]
        stack.enter_context(running(folder, "rgw", [*gateway, "--setuser", "", "--setgroup", ""]))
        wait_for_http(f"http://127.0.0.1:{port}/", 120)
        user = ["user", "create", "--uid=imagehaul", "--display-name=imagehaul", "--max-buckets=0"]
        cluster.run("radosgw-admin", "-n", "client.rgw", *user, f"--access-key={_KEY}", f"--secret-key={_SECRET}")
        yield ServedStore(f"http://127.0.0.1:{port}", _KEY, _SECRET)


class _Cluster:
    """One monitor, one OSD, one gateway; `file` is the configuration of all."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file, self.osd = folder, folder / "ceph.conf", str(uuid.uuid4())

    def configure(self, port: int) -> None:
        for name in ("mon", "osd", "rgw", "run"):
            (self.folder / name).mkdir(parents=True)
        fsid, low = str(uuid.uuid4()), min(free_port(), 60_000)
        monitor = f"[v2:127.0.0.1:{free_port()},v1:127.0.0.1:{free_port()}]"
        self.file.write_text(_CONFIGURATION.format(**locals(), folder=self.folder, memory=_MEMORY, high=low + 40))
        monmap = ["monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", monitor, self._file("monmap")]
        subprocess.run(monmap, check=True, capture_output=True)
        self.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", self._file("monmap"), "--setuser", "", "--setgroup", "")

    def daemon(self, program: str, *arguments: str) -> list[str]:
        found = shutil.which(program) or program
        return [found, "-c", str(self.file), *arguments, "-f", "--setuser", "", "--setgroup", ""]

    def run(self, program: str, *arguments: str) -> str:
        command = [program, "-c", str(self.file), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def wait_for(self, *question: str, seconds: float, says: str = "") -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if says in self.run("ceph", "--connect-timeout", "5", *question):
                    return
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
                pass  # It does not answer yet.
            time.sleep(0.3)
        raise TimeoutError(f"Ceph does not answer to {question}; its logs lie in {self.folder}.")

    def _file(self, name: str) -> str:
        return str(self.folder / name)


_CONFIGURATION = """
[global]
fsid = {fsid}
mon host = {monitor}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms bind port min = {low}
ms bind port max = {high}
auth cluster required = none
auth service required = none
auth client required = none
run dir = {folder}/run
admin socket = {folder}/run/$name.$pid.asok
pid file =
log file = {folder}/$name.log
crash dir = {folder}/crash
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 2000
mon data avail warn = 1
mon data avail crit = 0
mon data = {folder}/mon
[osd]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = {memory}
osd memory target = 939524096
osd max object name len = 2048
osd max object namespace len = 256
osd class load list = *
osd class default list = *
[client.rgw]
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port}
ms mon client mode = crc secure
rgw thread pool size = 64
rgw enable usage log = false
rgw dns name = localhost
rgw crypt require ssl = false
"""
