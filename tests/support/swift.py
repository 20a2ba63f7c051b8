"""OpenStack Swift with its S3 API on loopback: one device, one replica, no systemd.

Debian 12: apt-get install --no-install-recommends swift-proxy swift-account swift-container swift-object memcached.
It starts in some 7 seconds, and wants a file system with user xattrs. What it shows that the others do not: a store
without conditional PUT, and right copy conditions that are refused for what was uploaded in parts.
"""

from __future__ import annotations

import getpass
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.servers import ServedStore, free_port, running, wait_for_http

PROGRAMS = ("swift-proxy-server", "swift-account-server", "swift-container-server", "swift-object-server", "memcached")
_KINDS = ("account", "container", "object")
_FILTERS = (
    "catch_errors gatekeeper healthcheck cache listing_formats s3api tempauth copy slo dlo versioned_writes symlink"
)


def missing_programs() -> list[str]:
    return [program for program in PROGRAMS if not shutil.which(program)]


@contextmanager
def serving_swift(folder: Path) -> Iterator[ServedStore]:
    etc, cache, proxy = folder / "etc", free_port(), free_port()
    for name in ("etc", "srv/d1"):
        (folder / name).mkdir(parents=True)
    (etc / "swift.conf").write_text(_HASHES)
    (etc / "proxy.conf").write_text(_proxy(folder, proxy, cache))
    for kind in _KINDS:
        _configure(folder, kind, free_port())
    with ExitStack() as stack:
        memcached = [shutil.which("memcached") or "", "-u", "nobody", "-l", "127.0.0.1", "-p", str(cache)]
        stack.enter_context(running(folder, "memcached", memcached))
        for kind in (*_KINDS, "proxy"):
            server = [shutil.which(f"swift-{kind}-server") or "", str(etc / f"{kind}.conf"), "-v"]
            stack.enter_context(running(folder, kind, server))
        wait_for_http(f"http://127.0.0.1:{proxy}/healthcheck", 60)
        yield ServedStore(f"http://127.0.0.1:{proxy}", "test:tester", "testing")


def _configure(folder: Path, kind: str, port: int) -> None:
    """A server that keeps one kind of thing, and the ring that says where: on the one device."""
    etc = folder / "etc"
    (etc / f"{kind}.conf").write_text(
        f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nworkers = 0\nswift_dir = {etc}\n"
        f"devices = {folder}/srv\nmount_check = false\nuser = {getpass.getuser()}\nfallocate_reserve = 0\n"
        # Else a listing that is late by a second lags until an updater runs, and none does here.
        f"container_update_timeout = 60\n"
        f"log_level = WARNING\n[pipeline:main]\npipeline = {kind}-server\n[app:{kind}-server]\nuse = egg:swift#{kind}\n"
    )
    for step in (["create", "6", "1", "1"], ["add", f"r1z1-127.0.0.1:{port}/d1", "1"], ["rebalance"]):
        subprocess.run(["swift-ring-builder", f"{kind}.builder", *step], cwd=etc, check=True, capture_output=True)


def _proxy(folder: Path, port: int, cache: int) -> str:
    plain = ("catch_errors", "gatekeeper", "healthcheck", "listing_formats", "copy", "slo", "dlo", "symlink")
    filters = "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in plain)
    return (
        f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nworkers = 0\nswift_dir = {folder}/etc\n"
        f"user = {getpass.getuser()}\nlog_level = WARNING\n[pipeline:main]\npipeline = {_FILTERS} proxy-server\n"
        "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\nallow_account_management = true\n"
        "[filter:tempauth]\nuse = egg:swift#tempauth\nuser_test_tester = testing .admin\n"
        "[filter:s3api]\nuse = egg:swift#s3api\ns3_acl = false\nmin_segment_size = 5242880\n"
        "max_multi_delete_objects = 1000\nallow_multipart_uploads = true\n"
        f"[filter:cache]\nuse = egg:swift#memcache\nmemcache_servers = 127.0.0.1:{cache}\n"
        "[filter:versioned_writes]\nuse = egg:swift#versioned_writes\nallow_versioned_writes = true\n"
        f"allow_object_versioning = true\n{filters}"
    )


_HASHES = """
[swift-hash]
swift_hash_path_suffix = x
swift_hash_path_prefix = y
[swift-constraints]
max_object_name_length = 2048
[storage-policy:0]
name = default
default = yes
"""
