"""A network of its own for a process, joined to this machine by one link that can be cut. Needs root and `ip`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Network:
    """`host`: this machine's address on the link, all that the other end reaches; `inside`: the other end's."""

    name: str
    host: str
    inside: str

    @property
    def enter(self) -> list[str]:
        """The command that becomes another one within."""
        return ["ip", "netns", "exec", self.name]

    def cut(self) -> None:
        """No packet passes any more, and nobody is told."""
        _ip("link", "set", self.name, "down")

    def give_back(self) -> None:
        _ip("link", "set", self.name, "up")


@contextmanager
def network() -> Iterator[Network]:
    """Skips where this process may make none."""
    if not shutil.which("ip"):
        pytest.skip("needs the program ip: apt-get install iproute2")
    number = os.getpid() % 250
    made = Network(f"haul{number}", f"10.213.{number}.1", f"10.213.{number}.2")
    try:
        _ip("netns", "add", made.name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this process may not make a network namespace: {error.stderr.decode().strip()}")
    try:
        _ip("link", "add", made.name, "type", "veth", "peer", "name", "inside", "netns", made.name)
        _ip("addr", "add", f"{made.host}/30", "dev", made.name)
        _ip("-n", made.name, "addr", "add", f"{made.inside}/30", "dev", "inside")
        for device in ("inside", "lo"):
            _ip("-n", made.name, "link", "set", device, "up")
        _ip("link", "set", made.name, "up")
        yield made
    finally:
        _ip("netns", "del", made.name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
