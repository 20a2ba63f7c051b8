"""How a delivery grows with the cores: 1, 2, 4, 8 … for the client, and others for the server where there are any."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.bench import BIN, BUCKET, Bench, a_store, s5cmd
from benchmarks.cores import Shares, confined, pin, shares
from benchmarks.corpora import small
from benchmarks.measure import Measured, median
from benchmarks.part_delivery import linked
from benchmarks.pictures import photographs, small_files

KINDS = 600
NONE = "--skip-image-thumbnail-generation"
RAW = "`s5cmd cp DIR/`, 32 workers"
LANES = ("s5cmd", "obstore", "boto3")
THUMBNAILS = "photographs of 640 x 480, thumbnails, s5cmd"
_COMMENT = b"\xff\xfe\x00\x0a"
"""Of a JPEG, with eight more bytes. https://www.w3.org/Graphics/JPEG/itu-t81.pdf (B.2.4.5)"""


@dataclass(frozen=True, slots=True)
class Trees:
    """Folders of pictures. No two of the `files` are the same: exact duplicates would be work for the export."""

    files: Path
    photographs: Path
    twenty: Path


Rows = dict[str, list[Measured]]


def cores(bench: Bench) -> None:
    """Goals of the work that travels; needs neither network nor Prefect."""
    parted = shares()
    trees = _trees(bench)
    where = f"the server on {len(parted.server)} others" if parted.server else "which the server shares"
    load, *_ = os.getloadavg()
    bench.say(f"\nClient cores: {', '.join(map(str, parted.counts))}, {where}. Load of other work before: {load:.1f}.")
    by_cores: dict[int, Rows] = {}
    for count in parted.counts:
        # A store of its own: each delivery makes one larger and slower.
        with a_store(bench.work) as (server, metrics):
            here = replace(bench, server=server, metrics=metrics)
            if parted.server:
                pin(server.pid, parted.server)
            with confined(parted.client[:count]):
                by_cores[count] = _measured(here, trees)
        _table(bench, count, by_cores[count])
    _goals(bench, parted, by_cores)


def _trees(bench: Bench) -> Trees:
    kinds = bench.work / f"small-{KINDS}"
    small_files(kinds, KINDS)
    seeds = [seed.read_bytes() for seed in sorted(kinds.rglob("*.jpg"))]
    files = bench.work / f"distinct-{bench.files}"
    if not files.is_dir():
        for number in range(bench.files):
            file = files / f"d{number % 40:02d}" / f"{number:06d}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            seed = seeds[number % KINDS]
            file.write_bytes(seed[:2] + _COMMENT + b"%08d" % number + seed[2:])
    few = small(bench.work, 200, bench.photographs)
    drawn = linked(bench.work / f"photographs-{bench.thumbnails}", few, bench.thumbnails)
    photographs(bench.work / "twenty", 20, (640, 480))
    return Trees(files, drawn, bench.work / "twenty")


def _measured(bench: Bench, trees: Trees) -> Rows:
    """Each round all of them in turn, and the deliveries with thumbnails once."""
    ways: dict[str, Callable[[str], Measured]] = {
        RAW: lambda to: bench.run(
            s5cmd(), "--endpoint-url", bench.server.url, "--numworkers", "32", "--log", "error", "cp",
            f"{trees.files}/", f"s3://{BUCKET}/{to}/",
        ),
        **{lane: _by_lane(bench, trees.files, lane) for lane in LANES},
        "20 unchanged": lambda _: bench.imagehaul(trees.twenty, "twenty"),
        "`--help`": lambda _: bench.run(BIN / "imagehaul", "--help"),
    }  # fmt: skip
    bench.imagehaul(trees.twenty, "twenty")
    rows: Rows = {name: [] for name in ways}
    for number in range(bench.rounds):
        for place, (name, run) in enumerate(ways.items()):
            rows[name].append(run(f"r{number}-{place}"))
    rows[THUMBNAILS] = [bench.imagehaul(trees.photographs, "thumbnails")]
    return rows


def _by_lane(bench: Bench, source: Path, lane: str) -> Callable[[str], Measured]:
    return lambda to: bench.imagehaul(source, to, NONE, "--transfer-engine", lane)


def _table(bench: Bench, count: int, rows: Rows) -> None:
    bench.say(f"\n### {count} client cores: {bench.files:,} files of 20-120 kB, nothing rendered\n")
    bench.say(
        "| | wall s | images a second | client CPU s | CPU of processes that run no batch s | ms an image "
        "| server CPU s | leader MB | largest other process MB |"
    )
    bench.say("|---|---|---|---|---|---|---|---|---|")
    start = _start(rows)
    for name, runs in rows.items():
        wall, cpu, server = (median([getattr(run, of) for run in runs]) for of in ("wall", "cpu", "server"))
        images = _images(bench, name)
        rate = f"{images / wall:,.0f}" if images else ""
        leading = [run.leading for run in runs if run.leading is not None]
        own = f"{median(leading):.2f} | {(median(leading) - start) * 1000 / images:.3f}" if leading else " | "
        sizes = (max(getattr(run, of) for run in runs) for of in ("leader_memory", "process_memory"))
        label = f"{images:,} {name}" if name == THUMBNAILS else name
        bench.say(
            f"| {label} | {wall:.2f} | {rate} | {cpu:.2f} | {own} | {server:.1f} | "
            + " | ".join(f"{size:.0f}" for size in sizes) + " |"
        )  # fmt: skip


def _images(bench: Bench, name: str) -> int:
    return bench.files if name in (RAW, *LANES) else bench.thumbnails if name == THUMBNAILS else 0


def _start(rows: Rows) -> float:
    """CPU seconds of a start with nothing to do, all of it in the leading process."""
    return median([run.cpu for run in rows["20 unchanged"]])


def _goals(bench: Bench, parted: Shares, by_cores: dict[int, Rows]) -> None:
    bench.say()
    for count, rows in by_cores.items():
        start = _start(rows)
        for lane in LANES:
            leading = [run.leading for run in rows[lane] if run.leading is not None]
            if leading:
                own = [(seconds - start) * 1000 / bench.files for seconds in leading]
                bench.at_most(f"goal 1, {lane}, {count} cores: CPU that runs no batch, ms an image", own, 0.1)
        for lane, goal in (("s5cmd", 1.0), ("obstore", 0.75)):
            whole = [run.cpu * 1000 / bench.files for run in rows[lane]]
            bench.at_most(f"goal 2, {lane}, {count} cores: client CPU, ms an image", whole, goal)
        if parted.server and count in (2, 8):
            bench.ratio(f"goal 3, {count} cores: wall against `s5cmd cp`", rows["s5cmd"], rows[RAW], 2.0)
    if parted.server and 8 in by_cores:
        one, eight = (by_cores[count][THUMBNAILS][0].wall for count in (1, 8))
        bench.at_least("goal 4, thumbnails: the rate of 8 cores against that of one", [one / eight], 6.5)
    rows = by_cores[parted.counts[-1]]
    bench.at_most("goal 8, MB of the leader", [max(run.leader_memory for run in rows["s5cmd"])], 250)
    bench.at_most("goal 8, MB of each other process", [max(run.process_memory for run in rows["s5cmd"])], 250)
    bench.at_most("goal 9, `--help`, wall s", [run.wall for run in rows["`--help`"]], 0.33)
    bench.at_most("goal 9, 20 unchanged, wall s", [run.wall for run in rows["20 unchanged"]], 1.1)
