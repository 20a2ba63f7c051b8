"""Goal 6: nothing changed, against the peers with nothing to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.bench import BUCKET, PEERS, Bench, in_turn, s5cmd
from benchmarks.measure import Measured
from benchmarks.pictures import photographs


def unchanged(bench: Bench) -> None:
    """Goal 6: nothing changed, against the peers with nothing to do."""
    count = 100_000
    source = bench.work / "many"
    tiny_files(source, count)
    bench.imagehaul(source, "unchanged", "--skip-image-thumbnail-generation")
    images = f"s3://{BUCKET}/sets/unchanged/images/"
    peers: dict[str, Callable[[str], Measured]] = {
        "imagehaul": lambda _: bench.imagehaul(source, "unchanged", "--skip-image-thumbnail-generation"),
        "s5cmd sync": lambda _: bench.run(
            s5cmd(), "--endpoint-url", bench.server.url, "--log", "error", "sync", f"{source}/", images
        ),
    }
    if (PEERS / "aws").exists():
        peers["aws s3 sync"] = lambda _: bench.run(
            PEERS / "aws", "--endpoint-url", bench.server.url, "s3", "sync", "--only-show-errors", source, images
        )
    rows = in_turn(bench, peers)
    bench.table(f"Nothing changed: {count:,} images", count, rows)
    assert all(json.loads(run.output.splitlines()[-1])["unchanged"] == count for run in rows["imagehaul"])
    bench.ratio("goal 6, wall against `s5cmd sync`", rows["imagehaul"], rows["s5cmd sync"], 1.0)
    if "aws s3 sync" in rows:
        bench.ratio("goal 6, wall against `aws s3 sync`", rows["imagehaul"], rows["aws s3 sync"], 1.0)


def tiny_files(folder: Path, count: int) -> None:
    """Hard links to a few hundred small pictures: what is compared is names, not bytes."""
    if folder.is_dir():
        return
    seeds = folder.parent / "seeds"
    photographs(seeds, 200, (64, 48))
    kinds = sorted(seeds.iterdir())
    for number in range(count):
        file = folder / f"{number // 1000:03d}" / f"{number:07d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.hardlink_to(kinds[number % len(kinds)])
