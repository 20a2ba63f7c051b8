"""A search for secrets: in files, in the arguments of processes, in memory, in whatever a test shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psutil

from imagehaul.store.credentials import AccessKey


@dataclass
class Search:
    """What was found of the secrets, and where. `looked`: how many places were looked at."""

    secrets: tuple[bytes, ...]
    found: list[str] = field(default_factory=list)
    looked: int = 0
    s5cmds: int = 0

    @classmethod
    def of(cls, keys: AccessKey) -> Self:
        plain = [keys.secret_key, keys.session_token]
        forms = {form.encode() for secret in plain if secret for form in (secret, quote(secret, safe=""))}
        return cls(tuple(forms))

    def look(self, where: str, content: bytes) -> None:
        self.looked += 1
        self.found += [f"{where}: {len(secret)} characters" for secret in self.secrets if secret in content]

    def folder(self, folder: Path) -> None:
        for file in folder.rglob("*"):
            try:
                if file.is_file():
                    self.look(str(file), file.read_bytes())
            except OSError:
                continue  # gone since

    def processes(self, root: int) -> None:
        """Arguments of all processes below, and the environment of those that decode pictures."""
        for process in [psutil.Process(root), *psutil.Process(root).children(recursive=True)]:
            try:
                arguments = " ".join(process.cmdline())
                self.look(f"arguments of {process.name()}", arguments.encode())
                self.s5cmds += process.name() == "s5cmd"
                if "rendering.worker" in arguments:
                    self.look("environment of a decoder", json.dumps(process.environ()).encode())
            except psutil.NoSuchProcess:
                continue

    def memory(self, pid: int) -> None:
        """All that a process holds: it must be a child of this one."""
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                span, rights, *_, name = [*line.split(maxsplit=5), ""][:6]
                if not rights.startswith("rw") or name.startswith("[v"):
                    continue
                first, last = (int(place, 16) for place in span.split("-"))
                memory.seek(first)
                try:
                    self.look(f"memory of process {pid}", memory.read(last - first))
                except OSError:
                    continue  # given back since
