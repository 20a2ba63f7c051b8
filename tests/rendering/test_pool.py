"""Worker processes: shared, limited, and replaceable."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from imagehaul.errors import Code, HaulError, Trait
from imagehaul.records import Box, Crop, Picture, PictureJob, RenderOptions
from imagehaul.rendering import worker as worker_module
from imagehaul.rendering.pool import RenderPool
from imagehaul.rendering.process import RenderProcess, WorkerDiedError
from tests.support.pictures import UPRIGHT, job, quadrants, saved, seen

LARGE = 10_000_000
"""Bytes that are worth a second worker."""


@pytest.fixture
def pool() -> Iterator[RenderPool]:
    with RenderPool(RenderOptions(), workers=2) as made:
        yield made


def workers() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # gone meanwhile, or a zombie
            if "rendering.worker" in " ".join(child.cmdline()):
                found.append(child)
    return found


def wait_until(condition: Any, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(condition())


def thumbnails(folder: Path, count: int) -> list[PictureJob]:
    file = saved(folder / "picture.jpg", quadrants((640, 480)))
    return [job(file, thumbnail=str(folder / f"{number}.thumbnail")) for number in range(count)]


def endless(folder: Path, size: int = 100, **asked: Any) -> PictureJob:
    """A picture that is never read to its end: opening a pipe waits for somebody who writes to it."""
    file = folder / f"endless-{len(list(folder.iterdir()))}.jpg"
    os.mkfifo(file)
    return PictureJob(str(file), size, "", **asked)


def test_pictures_come_back_in_the_order_of_their_jobs(pool: RenderPool, tmp_path: Path) -> None:
    jobs = [
        job(saved(tmp_path / f"{width}.png", Image.new("L", (width, 1))), thumbnail=str(tmp_path / f"{width}.jpg"))
        for width in range(1, 120)
    ]
    pictures = pool.render(jobs)
    assert [picture.info.width for picture in pictures if picture.info] == list(range(1, 120))
    assert all(Path(planned.thumbnail).exists() for planned in jobs)


def test_no_jobs_start_no_worker(pool: RenderPool) -> None:
    assert pool.render([]) == []
    assert workers() == []


def test_little_work_starts_one_worker_and_more_of_it_the_next(pool: RenderPool, tmp_path: Path) -> None:
    pool.render(thumbnails(tmp_path, 3))
    assert len(workers()) == 1
    pool.render(thumbnails(tmp_path, 60))
    assert len(workers()) == 2


def test_several_threads_share_the_workers(pool: RenderPool, tmp_path: Path) -> None:
    def deliver(batch: int) -> list[Picture]:
        folder = tmp_path / str(batch)
        folder.mkdir()
        return pool.render(thumbnails(folder, 30))

    with ThreadPoolExecutor(6) as batches:
        results = list(batches.map(deliver, range(6)))
    assert [len(result) for result in results] == [30] * 6
    assert not [picture.code for result in results for picture in result if picture.code]
    assert len(workers()) == 2


def test_the_time_limit_ends_a_picture_and_its_neighbours_go_on(tmp_path: Path) -> None:
    """Ten travel together: the answers about the seven before it are lost with the worker, and given by the next."""
    jobs = thumbnails(tmp_path, 40)
    jobs[7] = endless(tmp_path, thumbnail=str(tmp_path / "7.thumbnail"))
    with RenderPool(RenderOptions(picture_seconds=0.5), workers=1) as pool:
        pictures = pool.render(jobs)
    assert [picture.code for picture in pictures] == [""] * 7 + ["TIME_LIMIT"] + [""] * 32
    assert [made.renditions[0].file for made in pictures if not made.code] == [
        planned.thumbnail for number, planned in enumerate(jobs) if number != 7
    ]
    assert pictures[7].info is None
    assert "PICTURE_SECONDS" in pictures[7].message


def test_a_decoder_that_takes_too_long_leaves_size_and_hashes(tmp_path: Path) -> None:
    """The picture is large and the time short; its bytes are still there for whoever wants them."""
    file = saved(tmp_path / "slow.jp2", Image.effect_noise((2000, 2000), 90))
    half = tmp_path / "slow.thumbnail"
    half.write_bytes(b"half a file")
    with RenderPool(RenderOptions(picture_seconds=0.01), workers=1) as pool:
        picture = pool.render([job(file, thumbnail=str(half))])[0]
    assert picture.code == "TIME_LIMIT"
    assert picture.info is not None
    assert (picture.info.size, len(picture.info.sha256), picture.info.format) == (file.stat().st_size, 64, "")
    assert not half.exists()


def test_a_large_file_has_time_to_be_read(tmp_path: Path) -> None:
    file = tmp_path / "large.tif"
    with file.open("wb") as stream:
        stream.truncate(200_000_000)
    with RenderPool(RenderOptions(picture_seconds=0.1), workers=1) as pool:
        assert pool.render([job(file)])[0].code == "UNDECODABLE"


def test_the_memory_limit_holds_and_the_worker_lives_on(tmp_path: Path) -> None:
    large = saved(tmp_path / "large.png", Image.new("1", (17_000, 17_000)))
    small = thumbnails(tmp_path, 1)[0]
    with RenderPool(RenderOptions(picture_memory=64, pixel_limit=10**9), workers=1) as pool:
        pool.render([small])
        [worker] = workers()
        pictures = pool.render([job(large, thumbnail=str(tmp_path / "large.thumbnail")), small])
        assert [picture.code for picture in pictures] == ["MEMORY_LIMIT", ""]
        assert workers() == [worker]
    assert pictures[0].info is not None
    assert pictures[0].info.sha256


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGALRM])
def test_a_worker_that_somebody_kills_costs_no_picture(tmp_path: Path, kill: signal.Signals) -> None:
    """The alarm is what ends one that was paused for longer than a picture has, at its first moment afterwards."""
    jobs = thumbnails(tmp_path, 100)
    with RenderPool(RenderOptions(), workers=2) as pool:
        pool.render(jobs)
        doomed = workers()
        assert len(doomed) == 2
        for number, worker in enumerate(doomed):
            threading.Timer(0.05 + 0.05 * number, worker.send_signal, [kill]).start()
        pictures = pool.render(jobs)
        assert not set(doomed) & set(workers())
    assert [picture.code for picture in pictures] == [""] * 100
    assert seen(Path(jobs[99].thumbnail)) == UPRIGHT


@pytest.mark.parametrize(
    ("kill", "code"), [(signal.SIGSEGV, "DECODER_CRASHED"), (9, "MEMORY_LIMIT"), (signal.SIGUSR1, "RENDERING_FAILED")]
)
def test_a_picture_on_which_two_workers_died_is_told_by_how_they_died(tmp_path: Path, kill: int, code: str) -> None:
    good = thumbnails(tmp_path, 4)
    hostile = replace(endless(tmp_path), size=0)
    stop = threading.Event()

    # Open for both, the pipe has a writer from now on: whoever reads it waits, and never meets an end.
    pipe = os.open(hostile.file, os.O_RDWR)

    def kill_who_reads() -> None:
        """Stands for a decoder that dies of this picture every time, and of no other."""
        while not stop.wait(0.01):
            for worker in workers():
                with contextlib.suppress(OSError, psutil.Error):
                    opened = [file.readlink() for file in Path(f"/proc/{worker.pid}/fd").iterdir()]
                    if Path(hostile.file) in opened:
                        worker.send_signal(kill)

    killer = threading.Thread(target=kill_who_reads)
    killer.start()
    with RenderPool(RenderOptions(), workers=1) as pool:
        try:
            pictures = pool.render([*good[:2], hostile, *good[2:]])
        finally:
            stop.set()
            killer.join()
            os.close(pipe)
    assert [picture.code for picture in pictures] == ["", "", code, "", ""]
    assert pictures[2].message


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (-signal.SIGABRT, "DECODER_CRASHED"),
        (-signal.SIGBUS, "DECODER_CRASHED"),
        (-signal.SIGALRM, "TIME_LIMIT"),
        (-signal.SIGTERM, "RENDERING_FAILED"),
        (1, "RENDERING_FAILED"),
    ],
)
def test_only_a_decoder_s_own_death_or_a_limit_is_the_picture_s_fault(status: int, code: str) -> None:
    assert WorkerDiedError(status).code == code
    assert (Trait.OF_FILE in Code[code].traits) == (code != "RENDERING_FAILED")
    assert Code.RENDERING_FAILED.retryable


def test_an_error_of_our_own_is_not_blamed_on_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(job: PictureJob, options: RenderOptions) -> Picture:
        raise UnicodeEncodeError("ascii", "\xe4", 0, 1, "ordinal not in range")

    monkeypatch.setattr(worker_module, "render", fail)
    picture = worker_module._looked_at(thumbnails(tmp_path, 1)[0], RenderOptions(), decode=True)
    assert (picture.code, picture.info) == ("RENDERING_FAILED", None)
    assert "UnicodeEncodeError" in picture.message


def test_names_beyond_ascii_are_read_whatever_the_locale_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONUTF8", "0")
    file = saved(tmp_path / "\u00e4\u65e5\udcff.jpg", quadrants())
    with RenderPool(RenderOptions(), workers=1) as pool:
        assert pool.render([job(file, thumbnail=f"{file}.thumbnail")])[0].code == ""


def test_a_worker_that_died_while_idle_is_replaced(pool: RenderPool, tmp_path: Path) -> None:
    jobs = thumbnails(tmp_path, 1)
    pool.render(jobs)
    for worker in workers():
        worker.kill()
    assert wait_until(lambda: not workers())
    assert pool.render(jobs)[0].code == ""


def test_closing_ends_all_workers_in_the_middle_of_a_picture(tmp_path: Path) -> None:
    pool = RenderPool(RenderOptions(), workers=2)
    with ThreadPoolExecutor(2) as callers:
        results = [callers.submit(pool.render, [endless(tmp_path, LARGE), endless(tmp_path)]) for _ in range(2)]
        assert wait_until(lambda: len(workers()) == 2)
        time.sleep(0.3)
        start = time.monotonic()
        pool.close()
        for result in results:
            with pytest.raises(HaulError, match="stopped"):
                result.result(timeout=5)
    assert time.monotonic() - start < 5
    assert workers() == []
    pool.close()
    with pytest.raises(HaulError, match="stopped"):
        pool.render(thumbnails(tmp_path, 1))


def test_no_worker_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    """One stands still in the middle of a picture, the other waits for work."""
    stuck, good = endless(tmp_path, LARGE), thumbnails(tmp_path, 1)[0]
    program = (
        "import sys, threading\nfrom imagehaul.records import PictureJob, RenderOptions\n"
        "from imagehaul.rendering.pool import RenderPool\npool = RenderPool(RenderOptions(), 2)\n"
        f"threading.Thread(target=pool.render, args=([{stuck!r}],)).start()\n"
        f"pool.render([{good!r}])\nprint('ready', flush=True)\nsys.stdin.read()\n"
    )
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen(
        [sys.executable, "-c", program], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    children = psutil.Process(parent.pid).children()
    assert len(children) == 2
    parent.kill()
    parent.wait()
    gone, alive = psutil.wait_procs(children, timeout=3)
    assert (len(gone), alive) == (2, [])


def test_ctrl_c_is_the_parent_s_to_answer(pool: RenderPool, tmp_path: Path) -> None:
    jobs = thumbnails(tmp_path, 40)
    pool.render(jobs)
    before = workers()
    for worker in before:
        worker.send_signal(signal.SIGINT)
    assert not [picture for picture in pool.render(jobs) if picture.code]
    assert workers() == before


def test_a_worker_knows_no_keys(pool: RenderPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    pool.render(thumbnails(tmp_path, 1))
    assert "a secret" not in workers()[0].environ().values()


def test_a_worker_imports_nothing_from_the_current_folder(
    pool: RenderPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "PIL.py").write_text("raise SystemExit('hijacked')")
    (tmp_path / "pickle.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    assert pool.render(thumbnails(tmp_path, 1))[0].code == ""


def test_what_decoders_print_goes_nowhere(pool: RenderPool, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """libtiff writes to standard error; on standard output it would get among the answers."""
    file = saved(tmp_path / "noisy.tif", Image.new("RGB", (64, 64)), compression="tiff_lzw")
    data = bytearray(file.read_bytes())
    data[8:68] = bytes(60)
    file.write_bytes(data)
    assert {picture.code for picture in pool.render([job(file, thumbnail=str(tmp_path / "a"))] * 20)} == {"UNDECODABLE"}
    assert capfd.readouterr() == ("", "")
    for worker in workers():
        streams = [Path(f"/proc/{worker.pid}/fd/{number}").readlink() for number in (0, 1, 2)]
        assert streams == [Path("/dev/null")] * 3


def test_a_worker_that_cannot_start_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "site-packages" not in entry])
    with RenderPool(RenderOptions(), workers=2) as pool, pytest.raises(HaulError, match="No module named 'PIL'"):
        pool.render(thumbnails(tmp_path, 50))
    assert workers() == []


@pytest.mark.parametrize("deaths", [2, 3])
def test_a_worker_that_is_killed_as_it_starts_is_started_again(
    pool: RenderPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: int
) -> None:
    greet, died = RenderProcess.greet, []

    def killed_at_first(worker: RenderProcess) -> None:
        if len(died) < deaths:
            died.append(worker)
            worker.kill()
        greet(worker)

    monkeypatch.setattr(RenderProcess, "greet", killed_at_first)
    if deaths < 3:
        assert [picture.code for picture in pool.render(thumbnails(tmp_path, 1))] == [""]
    else:
        with pytest.raises(HaulError, match=r"cannot start: The system killed .*\nFree memory, and run again\.$"):
            pool.render(thumbnails(tmp_path, 1))


def test_no_process_to_be_had_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
    with RenderPool(RenderOptions(), workers=1) as pool, pytest.raises(HaulError, match="No such file"):
        pool.render(thumbnails(tmp_path, 1))


def test_no_open_files_to_be_had_is_one_clear_error(tmp_path: Path) -> None:
    jobs = thumbnails(tmp_path, 1)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(highest)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 2, before[1]))
    try:
        with RenderPool(RenderOptions(), workers=1) as pool, pytest.raises(HaulError, match="Too many open files"):
            pool.render(jobs)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for number in held:
            os.close(number)


def test_names_that_are_no_utf8_reach_the_worker(pool: RenderPool, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    assert pool.render([job(saved(tmp_path / name, quadrants(), format="PNG"))])[0].code == ""


def test_hundreds_of_boxes_fit_through_the_pipe(pool: RenderPool, tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", quadrants())
    crops = tuple(Crop(Box(x, 5, 3, 3, label="l" * 300), str(tmp_path / f"{x}.crop")) for x in range(300))
    picture = pool.render([job(file, crops=crops)])[0]
    assert len([crop for crop in picture.renditions if not crop.code]) == 300
