"""Memory of all exports together as the data set grows. `benchmarks/exports.py` says what is simulated."""

from __future__ import annotations

import json
import shutil
import sys

from benchmarks.bench import Bench

SIZES = (60_000, 240_000, 1_000_000)


def exports(bench: Bench) -> None:
    bench.say("\n### All exports of a simulated data set, each image with a box, a label and a caption\n")
    runs = []
    for count in SIZES:
        folder = bench.work / f"exports-{count}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            done = bench.run(sys.executable, "-m", "benchmarks.exports", str(count), folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        runs.append(json.loads(done.output.splitlines()[-1]))
    bench.say("| images | peak MB | ms of CPU for an image | MB of exports |")
    bench.say("|---|---|---|---|")
    for run in runs:
        each = 1000 * run["cpu"] / run["images"]
        bench.say(f"| {run['images']:,} | {run['peak'] / 1e6:.0f} | {each:.2f} | {run['bytes'] / 1e6:,.0f} |")
    bench.say()
    # With 60,000 DuckDB has not yet filled the memory that it may keep.
    bench.at_most("exports, memory from 240,000 to 1,000,000", [runs[-1]["peak"] / runs[1]["peak"]], 1.1)
