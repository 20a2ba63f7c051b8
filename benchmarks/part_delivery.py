"""Goal 4: photographs of 1 to 4 MB, thumbnails and transfer: are the cores busy from the beginning to the end?"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.corpora import Corpus, large
from benchmarks.measure import Measured, median, spread

if TYPE_CHECKING:
    from benchmarks.bench import Bench

SCRIPT = Path(__file__).with_name("script.py")
BUCKET = "bench"
QUIET = 5
"""Per cent of the cores that other programs may take."""
KINDS = 48
"""Different pictures; the rest are hard links to them, since the store and the decoder do not know."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Seconds: of the clock, of the client's CPU, of the server's, and of whoever else used the machine."""

    wall: float
    client: float
    server: float
    others: float


def delivery(bench: Bench) -> None:
    count = bench.images
    kinds = large(bench.work, min(KINDS, count), bench.photographs)
    source = linked(bench.work / f"delivery-{count}", kinds, count)
    ways: dict[str, Callable[[str], Measured]] = {
        "imagehaul deliver": lambda to: bench.imagehaul(source, to),
        "script: 8 threads, Pillow, boto3": lambda to: bench.run(
            sys.executable, SCRIPT, source, BUCKET, to, bench.server.url
        ),
    }
    rows: dict[str, list[Delivered]] = {name: [] for name in ways}
    for number in range(bench.rounds):
        for place, (name, way) in enumerate(ways.items()):
            target = f"delivery{number}-{place}-{os.getpid()}"
            rows[name].append(_watched(bench, way, target))
            _empty(bench, target)
    cores = os.cpu_count() or 1
    size = sum(file.stat().st_size for file in kinds.files) / len(kinds.files)
    bench.say(f"\n### Thumbnails and transfer: {count:,} photographs of {size / 1e6:.1f} MB; {kinds}\n")
    bench.say("| | wall s, median (range) | client CPU s | server CPU s | CPU s of other programs |")
    bench.say("|---|---|---|---|---|")
    for name, runs in rows.items():
        middle = [median([getattr(run, field) for run in runs]) for field in ("client", "server", "others")]
        bench.say(f"| {name} | {spread([run.wall for run in runs])} | " + " | ".join(f"{v:.1f}" for v in middle) + " |")
    bench.say()
    ours, script = rows.values()
    alone = [run.wall * cores / run.client for run in ours]
    bench.say(f"- wall against the client's CPU / {cores} cores: {spread(alone)}; the server works on the same cores")
    with_server = [run.wall * cores / (run.client + run.server) for run in ours]
    bench.at_most(f"goal 4, wall against CPU of client and server / {cores} cores", with_server, 1.15)
    faster = [b.wall / a.wall for a, b in zip(ours, script, strict=True)]
    bench.at_least("goal 4, times as fast as the script", faster, 3.0)
    cheaper = [(b.client + b.server) / (a.client + a.server) for a, b in zip(ours, script, strict=True)]
    bench.say(f"- CPU of client and server, the script's against imagehaul's: {spread(cheaper)}")
    others = median([100 * run.others / (run.wall * cores) for run in (*ours, *script)])
    word = "so that times of the clock say nothing here" if others > QUIET else "little enough"
    bench.say(f"- other programs took {others:.0f} % of the cores: {word}")


def linked(folder: Path, kinds: Corpus, count: int) -> Path:
    if not folder.is_dir():
        folder.mkdir()
        for number in range(count):
            (folder / f"{number:05d}.jpg").hardlink_to(kinds.files[number % len(kinds.files)])
    return folder


def _watched(bench: Bench, way: Callable[[str], Measured], target: str) -> Delivered:
    server = psutil.Process(bench.server.pid)
    before, busy = _seconds(server), _busy()
    began = time.monotonic()
    done = way(target)
    wall = time.monotonic() - began
    of_server = _seconds(server) - before
    return Delivered(wall, done.cpu, of_server, max(0.0, _busy() - busy - of_server - done.cpu))


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _busy() -> float:
    """CPU seconds of all that runs on this machine."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _empty(bench: Bench, target: str) -> None:
    """So that the disk holds one delivery at a time."""
    client = bench.server.store().client()
    for prefix in (f"{target}/", f"sets/{target}/"):
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
            for item in page.get("Contents", []):
                client.delete_object(Bucket=BUCKET, Key=item["Key"])
