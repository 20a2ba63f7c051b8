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

from benchmarks.corpora import Corpus, spread_out
from benchmarks.img2dataset_peer import ENVIRONMENT, PROGRAM, Addresses, img2dataset, release, served
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
class Way:
    """`pictures`: how many of them it stores for each photograph."""

    run: Callable[[str], Measured]
    pictures: int = 2


@dataclass(frozen=True, slots=True)
class Delivered:
    """Seconds: of the clock, of CPU of the client, the store and the web server, and of whoever else was at work."""

    wall: float
    client: float
    server: float
    web: float
    others: float

    @property
    def cpu(self) -> float:
        """What the delivery took from the machine."""
        return self.client + self.server + self.web


def delivery(bench: Bench) -> None:
    count = bench.images
    kinds = spread_out(bench.work, min(KINDS, count), bench.photographs)
    source = linked(bench.work / f"{kinds.files[0].parent.name}-as-{count}", kinds, count)
    with served(source, bench.work / "addresses.txt") as addresses:
        ways = {
            "imagehaul deliver": Way(lambda to: bench.imagehaul(source, to)),
            "script: 8 threads, Pillow, boto3": Way(
                lambda to: bench.run(sys.executable, SCRIPT, source, BUCKET, to, bench.server.url)
            ),
        }
        if PROGRAM.exists():
            name = f"img2dataset {release()}: downloads and makes small, stores thumbnails alone"
            ways[name] = Way(lambda to: img2dataset(bench, addresses, to), pictures=1)
        rows = _in_turn(bench, ways, addresses)
    _report(bench, kinds, [kinds.files[number % len(kinds.files)] for number in range(count)], rows)


def _in_turn(bench: Bench, ways: dict[str, Way], addresses: Addresses) -> dict[str, list[Delivered]]:
    rows: dict[str, list[Delivered]] = {name: [] for name in ways}
    for number in range(bench.rounds):
        for place, (name, way) in enumerate(ways.items()):
            target = f"delivery{number}-{place}-{os.getpid()}"
            rows[name].append(_watched(bench, way, target, addresses.server))
            stored = _pictures(bench, target)
            if stored != (wanted := way.pictures * addresses.count):
                raise RuntimeError(f"{name} stored {stored} pictures, not {wanted}: a peer that fails is no peer")
            _empty(bench)
    return rows


def _report(bench: Bench, kinds: Corpus, sent: list[Path], rows: dict[str, list[Delivered]]) -> None:
    cores = os.cpu_count() or 1
    sizes = [file.stat().st_size / 1e6 for file in sent]
    bench.say(
        f"\n### Thumbnails and transfer: {len(sent):,} photographs of {min(sizes):.1f} to {max(sizes):.1f} MB, "
        f"{sum(sizes) / len(sizes):.1f} in the mean; {kinds}\n"
    )
    bench.say("| | wall s, median (range) | client CPU s | server CPU s | web server CPU s | CPU s of other programs |")
    bench.say("|---|---|---|---|---|---|")
    for name, runs in rows.items():
        middle = [median([getattr(run, field) for run in runs]) for field in ("client", "server", "web", "others")]
        bench.say(f"| {name} | {spread([run.wall for run in runs])} | " + " | ".join(f"{v:.1f}" for v in middle) + " |")
    bench.say()
    ours, script, *third = rows.values()
    alone = [run.wall * cores / run.client for run in ours]
    bench.say(f"- wall against the client's CPU / {cores} cores: {spread(alone)}; the server works on the same cores")
    with_server = [run.wall * cores / run.cpu for run in ours]
    bench.at_most(f"goal 4, wall against CPU of client and server / {cores} cores", with_server, 1.15)
    bench.at_least("goal 4, times as fast as the script", _ratios("wall", script, ours), 3.0)
    bench.say(f"- CPU of client and server, the script's against imagehaul's: {spread(_ratios('cpu', script, ours))}")
    if third:
        bench.say(
            f"- for comparison, times as fast as img2dataset: {spread(_ratios('wall', third[0], ours))}; CPU of client "
            f"and servers, img2dataset's against imagehaul's: {spread(_ratios('cpu', third[0], ours))}. imagehaul "
            "stores originals and thumbnails; img2dataset stores thumbnails and a small JSON file for each, and no "
            "originals"
        )
    else:
        bench.say(
            f"- **img2dataset is left out**: there is no {ENVIRONMENT.name}; `make {ENVIRONMENT.name}/installed` "
            "makes it"
        )
    every = [run for runs in rows.values() for run in runs]
    others = median([100 * run.others / (run.wall * cores) for run in every])
    word = "so that times of the clock say nothing here" if others > QUIET else "little enough"
    bench.say(f"- other programs took {others:.0f} % of the cores: {word}")


def _ratios(of: str, theirs: list[Delivered], ours: list[Delivered]) -> list[float]:
    return [getattr(b, of) / getattr(a, of) for a, b in zip(ours, theirs, strict=True)]


def linked(folder: Path, kinds: Corpus, count: int) -> Path:
    if not folder.is_dir():
        folder.mkdir()
        for number in range(count):
            (folder / f"{number:05d}.jpg").hardlink_to(kinds.files[number % len(kinds.files)])
    return folder


def _watched(bench: Bench, way: Way, target: str, web_server: int) -> Delivered:
    server, web = psutil.Process(bench.server.pid), psutil.Process(web_server)
    before, web_before, busy = _seconds(server), _seconds(web), _busy()
    began = time.monotonic()
    done = way.run(target)
    wall = time.monotonic() - began
    of_server, of_web = _seconds(server) - before, _seconds(web) - web_before
    others = max(0.0, _busy() - busy - of_server - of_web - done.cpu)
    return Delivered(wall, done.cpu, of_server, of_web, others)


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _busy() -> float:
    """CPU seconds of all that runs on this machine."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _pictures(bench: Bench, target: str) -> int:
    client = bench.server.store().client()
    prefixes = (f"{target}/", f"sets/{target}/")
    pages = (
        page
        for prefix in prefixes
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    )
    return sum(item["Key"].endswith(".jpg") for page in pages for item in page.get("Contents", []))


def _empty(bench: Bench) -> None:
    """So that the disk holds one delivery at a time: the store keeps the bytes of deleted objects for a while."""
    bench.server.store().client().delete_bucket(Bucket=BUCKET)
    bench.server.make_bucket(BUCKET)
