"""img2dataset beside imagehaul: it reads addresses, so a web server hands it the folder, and it writes through s3fs.

It downloads, makes small with OpenCV, and stores for each picture the small one and a JSON file with the original's
size and SHA-256. It does not store the original. In an environment of its own: it wants older packages than we do.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from benchmarks.bench import BUCKET, Bench
from benchmarks.measure import Measured
from imagehaul.child_process import start_bound

ENVIRONMENT = Path(__file__).parent.parent / ".venv-img2dataset"
PROGRAM = ENVIRONMENT / "bin" / "img2dataset"
WEB_SERVER = Path(__file__).with_name("web_server.py")
THREADS = 8
"""Those of each process only download: see README.md for what was tried."""
SHARDS = 3
"""For each process. After five it is replaced by a new one, and to start one takes seconds of CPU."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """A text file with one address a line, and the process of the web server that answers there."""

    file: Path
    count: int
    server: int


@contextmanager
def served(folder: Path, file: Path) -> Iterator[Addresses]:
    """The folder's files by HTTP; their addresses are written to `file`."""
    process = start_bound([sys.executable, str(WEB_SERVER), str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        names = sorted(item.name for item in folder.iterdir())
        file.write_text("".join(f"{url}/{name}\n" for name in names))
        yield Addresses(file, len(names), process.pid)
    finally:
        process.terminate()
        process.wait()


def img2dataset(bench: Bench, addresses: Addresses, to: str) -> Measured:
    """Ends well even where pictures failed, so that what it stored must be counted."""
    processes = os.cpu_count() or 1
    environment = {
        "FSSPEC_S3_ENDPOINT_URL": bench.server.url,
        # Else each process asks a package registry for a newer release.
        "NO_ALBUMENTATIONS_UPDATE": "1",
    }
    return bench.run(
        PROGRAM, "--url_list", addresses.file, "--output_folder", f"s3://{BUCKET}/{to}", "--output_format", "files",
        "--image_size", "256", "--resize_mode", "keep_ratio_largest", "--resize_only_if_bigger",
        "--encode_format", "jpg", "--encode_quality", "85", "--compute_hash", "sha256", "--extract_exif", "False",
        "--processes_count", str(processes), "--thread_count", str(THREADS),
        "--number_sample_per_shard", str(math.ceil(addresses.count / (processes * SHARDS))),
        environment=bench.environment | environment,
    )  # fmt: skip


def release() -> str:
    folders = [str(folder) for folder in ENVIRONMENT.glob("lib/python*/site-packages")]
    return next(iter(distributions(name="img2dataset", path=folders))).version
