"""Goal 9: what a user waits for before anything happens."""

from __future__ import annotations

from benchmarks.bench import BIN, Bench
from benchmarks.measure import median
from benchmarks.pictures import photographs


def start(bench: Bench) -> None:
    """Goal 9: what a user waits for before anything happens."""
    source = bench.work / "twenty"
    photographs(source, 20, (640, 480))
    bench.imagehaul(source, "twenty")
    helps = [bench.run(BIN / "imagehaul", "--help") for _ in range(bench.rounds)]
    again = [bench.imagehaul(source, "twenty") for _ in range(bench.rounds)]
    bench.say("\n### Start-up, no Prefect API configured\n")
    bench.figure("goal 9, `imagehaul --help`", median([run.wall for run in helps]), 0.8, "s")
    bench.figure("goal 9, `deliver` of 20 unchanged pictures", median([run.wall for run in again]), 3.0, "s")
