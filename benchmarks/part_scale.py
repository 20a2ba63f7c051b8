"""Goal 7: memory and time of a rerun as the data set grows. `benchmarks/scale.py` says what is simulated."""

from __future__ import annotations

import json
import shutil
import sys

from benchmarks.bench import Bench

SIZES = (10_000, 100_000, 1_000_000)


def scale(bench: Bench) -> None:
    bench.say(
        "\n### Inventory, plan, collision check, joins, proof, ledger and export; nothing rendered, nothing sent\n"
    )
    runs = []
    for count in SIZES:
        folder = bench.work / f"scale-{count}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            bench.run(sys.executable, "-m", "benchmarks.scale", "prepare", str(count), folder)
            done = bench.run(sys.executable, "-m", "benchmarks.scale", "rerun", str(count), folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        runs.append(json.loads(done.output.splitlines()[-1]))
    stages = [name for name in runs[0]["seconds"] if "simulated" not in name and "nothing" not in name]
    bench.say("| images | peak MB | seconds, without what is simulated | " + " | ".join(stages) + " |")
    bench.say("|---|---|---|" + "---|" * len(stages))
    for run in runs:
        run["total"] = sum(run["seconds"][name] for name in stages)
        seconds = " | ".join(f"{run['seconds'][name]:.1f}" for name in stages)
        bench.say(f"| {run['images']:,} | {run['peak'] / 1e6:.0f} | {run['total']:.1f} | {seconds} |")
    _, middle, large = runs
    bench.say()
    bench.figure("goal 7, peak memory", large["peak"] / 1e6, 500, "MB")
    bench.at_most("goal 7, memory from 100,000 to 1,000,000", [large["peak"] / middle["peak"]], 1.25)
    growth = large["total"] / middle["total"] / (large["images"] / middle["images"])
    bench.at_most("goal 7, time for an image, from 100,000 to 1,000,000", [growth], 1.2)
