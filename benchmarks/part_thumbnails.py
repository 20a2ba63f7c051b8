"""Thumbnails of 256 pixels: images a second of CPU against the peer, at the peer's quality."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageStat

from benchmarks.corpora import Corpus, large, small
from benchmarks.measure import Measured, measure, spread
from imagehaul.rendering.process import KEPT_MEMORY

if TYPE_CHECKING:
    from benchmarks.bench import Bench

SCRIPT = Path(__file__).with_name("thumbnails.py")
PEERS = Path(__file__).parent.parent / ".venv-bench" / "bin" / "python"
SIZE = 256

InTurn = Callable[["Bench", dict[str, Callable[[str], Measured]]], dict[str, list[Measured]]]


def thumbnails(bench: Bench, in_turn: InTurn) -> None:
    _compare(bench, "12 MP", large(bench.work, 12, bench.photographs), in_turn, goal=1.0, plain_goal=5.0)
    _compare(bench, "0.3 MP", small(bench.work, 300, bench.photographs), in_turn, goal=1.3, plain_goal=0.0)


def _compare(bench: Bench, title: str, corpus: Corpus, in_turn: InTurn, goal: float, plain_goal: float) -> None:
    # In memory, as in a delivery: making a file on a disk can take as long as a small thumbnail.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else bench.work) as kept:
        _compare_in(Path(kept), bench, title, corpus, in_turn, goal, plain_goal)


def _compare_in(
    kept: Path, bench: Bench, title: str, corpus: Corpus, in_turn: InTurn, goal: float, plain_goal: float
) -> None:
    source = corpus.files[0].parent
    ways: dict[str, tuple[str | Path, str]] = {
        "imagehaul": (sys.executable, "imagehaul"),
        "pyvips": (PEERS, "pyvips"),
        "pyvips-with-hashes": (PEERS, "pyvips-with-hashes"),
        "plain": (sys.executable, "plain"),
    }
    if not PEERS.exists():
        ways = {name: way for name, way in ways.items() if not name.startswith("pyvips")}

    def run(way: tuple[str | Path, str]) -> Callable[[str], Measured]:
        # The allocator is set for all as in a worker process: it helps pyvips a little too.
        environment = bench.environment | KEPT_MEMORY
        return lambda _: measure([way[0], SCRIPT, way[1], source, kept / way[1]], environment)

    rows = in_turn(bench, {name: run(way) for name, way in ways.items()})
    rates = {name: [float(done.output.split()[-1]) for done in runs] for name, runs in rows.items()}
    bench.say(f"\n### Thumbnails, {title}: {corpus}\n")
    bench.say("| | images a second of CPU | PSNR of the file, dB |")
    bench.say("|---|---|---|")
    quality = _quality(corpus, {name: kept / name for name in ways})
    for name, values in rates.items():
        bench.say(f"| {WORDS[name]} | {spread(values)} | {quality[name]:.2f} |")
    bench.say()
    ours = rates["imagehaul"]
    if "pyvips" in rates:
        bench.at_least(f"{title}, images a second of CPU against pyvips", _ratios(ours, rates["pyvips"]), goal)
        difference = quality["imagehaul"] - quality["pyvips"]
        bench.at_least(f"{title}, PSNR above that of pyvips, in dB", [difference], -0.02)
        again = _ratios(ours, rates["pyvips-with-hashes"])
        bench.say(f"- for comparison, against pyvips with the same two hashes of the file: {spread(again)}")
    if plain_goal:
        bench.at_least("against plain open and resize", _ratios(ours, rates["plain"]), plain_goal)


WORDS = {
    "imagehaul": "imagehaul, in a worker process, with MD5, SHA-256 and info",
    "pyvips": "pyvips, `thumbnail_buffer`",
    "pyvips-with-hashes": "pyvips, with the same two hashes",
    "plain": "plain Pillow: open, resize (LANCZOS), save",
}


def _ratios(ours: list[float], theirs: list[float]) -> list[float]:
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def _quality(corpus: Corpus, folders: dict[str, Path]) -> dict[str, float]:
    """Mean over the pictures, of the thumbnails as files, against Pillow's LANCZOS of the full picture."""
    found: dict[str, list[float]] = {name: [] for name in folders}
    for file in corpus.files:
        with Image.open(file) as picture:
            scale = SIZE / max(picture.size)
            best = picture.resize(
                (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS
            )
        for name, folder in folders.items():
            with Image.open(folder / f"{file.stem}.jpg") as thumbnail:
                found[name].append(psnr(thumbnail.convert("RGB"), best))
    return {name: sum(values) / len(values) for name, values in found.items()}


def psnr(image: Image.Image, reference: Image.Image) -> float:
    """In dB, over all bands."""
    difference = ImageStat.Stat(ImageChops.difference(image, reference))
    error = sum(difference.sum2) / sum(difference.count)
    return 10 * math.log10(255**2 / error) if error else math.inf
