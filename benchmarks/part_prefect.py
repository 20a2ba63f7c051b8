"""Goals 8 and 9: what Prefect adds to a run, on a server that runs already."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from pathlib import Path

from benchmarks.bench import BUCKET, Bench
from benchmarks.corpora import small
from benchmarks.measure import Measured
from benchmarks.part_delivery import linked
from benchmarks.pictures import photographs
from imagehaul.local.local_prefect import listening, port_of, prefect_environment, prefect_server

IMAGES, KINDS = 10_000, 200
"""Most are hard links to a few: neither the store nor the decoder knows."""


def prefect(bench: Bench) -> None:
    kinds = small(bench.work, KINDS, bench.photographs)
    source, twenty = linked(bench.work / f"photographs-{IMAGES}", kinds, IMAGES), bench.work / "twenty"
    photographs(twenty, 20, (640, 480))
    bench.imagehaul(twenty, "twenty")
    with tempfile.TemporaryDirectory(dir=bench.work) as name:
        folder, listener = Path(name), listening()
        environment = prefect_environment(folder, port_of(listener))
        here = bench.environment | {key: environment[key] for key in environment if key.startswith("PREFECT_")}
        here["DO_NOT_TRACK"] = "1"
        with prefect_server(folder, listener, environment):
            bench.imagehaul(twenty, "twenty", environment=here)
            direct: list[Measured] = []
            flow: list[Measured] = []
            size: list[float] = []
            runs: list[float] = []
            for number in range(bench.rounds):
                # Each delivery makes the store larger and slower: every second round the flow run goes first.
                for way in ("direct", "flow") if number % 2 == 0 else ("flow", "direct"):
                    before, tasks = _database(folder)
                    done = bench.imagehaul(source, f"{way}-{number}", environment=here if way == "flow" else None)
                    (flow if way == "flow" else direct).append(done)
                    if way == "flow":
                        after, more = _database(folder)
                        size.append((after - before) / IMAGES)
                        runs.append(float(more - tasks))
            alone = [bench.imagehaul(twenty, "twenty") for _ in range(bench.rounds)]
            asked = [bench.imagehaul(twenty, "twenty", environment=here) for _ in range(bench.rounds)]
    ways = {"directly": direct, "as a flow run": flow}
    bench.table(f"Prefect: {IMAGES:,} photographs with thumbnails; {kinds}", IMAGES, ways)
    bench.at_most("goal 8, task runs", runs, IMAGES / 500 + 20)
    bench.at_most("goal 8, bytes in the server's database an image", size, 100)
    share = 1 - sum(run.wall for run in direct) / sum(run.wall for run in flow)
    bench.say(f"- wall of the flow runs that the direct runs do not have, start-up included: {share:.3f} of it")
    inside = 1 - sum(_stages(bench, run) for run in direct) / sum(_stages(bench, run) for run in flow)
    bench.at_most("goal 8, share of Prefect in the stages of the runs, its start-up apart", [inside], 0.03)
    more_wall = [b.wall - a.wall for a, b in zip(alone, asked, strict=True)]
    bench.at_most("goal 9, 20 unchanged pictures as a flow run, seconds more than directly", more_wall, 6)


def _stages(bench: Bench, run: Measured) -> float:
    """Seconds of the run's stages, by its report: all but the start-up of the process, and of Prefect in it."""
    said = json.loads(run.output.splitlines()[-1])
    key = f"sets/{said['dataset']}/runs/{said['run']}/report.json"
    report = bench.server.store().client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return float(sum(json.loads(report)["stages"].values()))


def _database(folder: Path) -> tuple[int, int]:
    """Bytes, with what has not been written into the main file yet, and task runs."""
    file = folder / "prefect" / "prefect.db"
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
        pages, size = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        (tasks,) = database.execute("SELECT count(*) FROM task_run").fetchone()
    return pages * size, tasks
