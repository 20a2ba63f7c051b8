"""The machine has no room left, or few open files: the run says so in a sentence, and a rerun with room completes it.

A real file system that is full, and the shell's own limits, around the command as a user runs it. The oracle is a
plain boto3 client.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.delivering import Target, draw
from tests.support.running import Ended, Machine
from tests.support.sending import stored

IMAGES = 60
ENGINES = pytest.mark.parametrize("engine", ["s5cmd", "boto3"])
attack = pytest.mark.attack


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    for number in range(IMAGES):
        draw(folder / f"f{number % 3}" / f"{number:02d}.jpg", size=(480, 360), seed=number)
    return folder


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a file system of so many KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def make(size: int) -> Path:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", folder], capture_output=True)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
        return folder

    yield make
    subprocess.run(["umount", "-l", folder], capture_output=True)


def ended_in_words(ended: Ended, target: Target, source: Path) -> None:
    """Whatever it could do: no traceback, no claim that a plain client does not find, no half-published index."""
    assert ended.status in (0, 1), ended.log
    assert "Traceback" not in ended.log, ended.log
    there = stored(target.store, target.bucket)
    images = {f"{target.root}images/{file.relative_to(source)}": file.read_bytes() for file in source.rglob("*.jpg")}
    for key, data in there.items():
        if "/images/" in key:
            assert data == images[key]
    published = f"{target.root}current.json" in there
    assert published == (ended.status == 0)
    assert images.keys() <= there.keys() or not published


def is_whole(target: Target, source: Path) -> None:
    there = stored(target.store, target.bucket)
    for file in source.rglob("*.jpg"):
        path = file.relative_to(source)
        assert there[f"{target.root}images/{path}"] == file.read_bytes()
        assert there[f"{target.root}thumbnails/{path}.jpg"].startswith(b"\xff\xd8")
    assert len(target.ledger()) == 2 * IMAGES


@pytest.mark.parametrize(
    ("size", "engine"),
    [
        (4, "boto3"),  # The working tables cannot even be begun.
        (200, "boto3"),
        pytest.param(200, "s5cmd", marks=attack),
        pytest.param(4, "s5cmd", marks=attack),
        *(pytest.param(size, engine, marks=attack)
          for size in (32, 64, 100, 150, 300, 400, 600) for engine in ("s5cmd", "boto3")),
    ],
)  # fmt: skip
def test_a_scratch_disk_that_is_full(
    size: int, engine: str, source: Path, target: Target, disk: Callable[[int], Path], tmp_path: Path
) -> None:
    machine, scratch = Machine(tmp_path / "home"), disk(size)
    # All renditions of all images at a time, and large ones.
    options = ("--workers", 1, "--batch-size", IMAGES, "--thumbnail-size", 480, "--thumbnail-quality", 95)
    ended = machine.run(target, source, engine, "--scratch", scratch, *options)
    print(f"\n{engine}, {size} KiB of scratch: exit status {ended.status}. {ended.message[:200]}")
    ended_in_words(ended, target, source)
    if ended.status:
        said = ended.message + ended.out + ended.log
        assert "No space left" in said or "DISK_FULL" in said, said
        assert "scratch" in said.lower(), "It says where room is to be made."
    assert list(scratch.iterdir()) == [], "What it wrote there is gone."
    assert size > 300 or ended.status == 1, "the disk was too large for this test to say anything"
    again = machine.run(target, source, engine, *options)
    assert again.status == 0, again.log
    is_whole(target, source)


@attack
@ENGINES
@pytest.mark.parametrize("files", [200, 64])
def test_few_open_files(files: int, engine: str, source: Path, target: Target, tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home")
    shell = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"]
    ended = machine.run(target, source, engine, "--transfer-workers", 256, "--workers", 2, before=shell)
    print(f"\n{engine}, {files} open files: exit status {ended.status}. {ended.message[:200]}")
    ended_in_words(ended, target, source)
    assert ended.status == 0 or files < 200, ended.log
    if ended.status:
        assert machine.run(target, source, engine).status == 0
    is_whole(target, source)
