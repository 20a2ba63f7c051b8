"""Goal 5: crops of annotated boxes cost little more than decoding each picture once, and encoding each crop."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.corpora import small
from benchmarks.measure import measure, spread
from imagehaul.rendering.process import KEPT_MEMORY

if TYPE_CHECKING:
    from benchmarks.bench import Bench

SCRIPT = Path(__file__).with_name("crops.py")


def crops(bench: Bench) -> None:
    given = bench.annotated
    folder = given or small(bench.work, 364, None).files[0].parent
    kind = "annotated" if given else "drawn"
    # The allocator is set as in a worker process, for both.
    done = measure([sys.executable, SCRIPT, folder, kind, str(bench.rounds)], bench.environment | KEPT_MEMORY)
    told = json.loads(done.output.splitlines()[-1])
    origin = "real, with their annotations" if given else "drawn, with drawn boxes"
    bench.say(f"\n### Crops: {told['pictures']} pictures ({origin}), {told['boxes']:,} boxes\n")
    alone, ours = told["alone"], told["imagehaul"]
    bench.say(f"- decoding and encoding alone: {spread(alone)} s of CPU for {told['crops']:,} crops")
    bench.say(f"- imagehaul, with hashes, files and box checks: {spread(ours)} s of CPU")
    bench.at_most(
        "goal 5, CPU against decoding and encoding alone", [a / b for a, b in zip(ours, alone, strict=True)], 1.3
    )
    bench.at_most("goal 5, decodes a picture", [told["decodes"] / told["pictures"]], 1.0)
