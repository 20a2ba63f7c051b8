"""Kills spread over a run: nothing is lost, nothing half-published, no child left, and one rerun makes it whole.

A long attack: `make attack` runs it. KILLS says how many for each lane.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from delivering import Target, draw
from flows.store import Store

KILLS = int(os.environ.get("KILLS", "25"))
IMAGES = 240

pytestmark = pytest.mark.attack

SCRIPT = """
import sys, pathlib
sys.path.insert(0, {tests!r})
from delivering import Target
from flows.store import Store
from flows.credentials import AccessKey
store = Store(url=sys.argv[1], credentials=AccessKey(*sys.argv[2:4]))
target = Target(store, sys.argv[4], dataset=sys.argv[6])
target.deliver(sys.argv[5], settings=dict(
    batch_size=40, workers=2, save_thumbnails_method="both", use_s5cmd_when_available=sys.argv[7] == "s5cmd"))
"""


def s5cmds() -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["name"]) if process.info["name"] == "s5cmd"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    for number in range(IMAGES):
        draw(folder / f"f{number % 4}" / f"{number:03d}.jpg", size=(640, 480), seed=number)
    rows = [f"f{number % 4}/{number:03d}.jpg,10,20,40,40,box" for number in range(0, IMAGES, 3)]
    (folder / "object_annotations.csv").write_text("\n".join(["filename,col_x,row_y,width,height,label", *rows]))
    return folder


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("lane", ["s5cmd", "boto3"])
def test_sigkill_at_any_moment(lane: str, source: Path, store: Store, bucket: str, tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    keys = store.keys()

    def start(dataset: str) -> subprocess.Popen[bytes]:
        arguments = [store.url, keys.access_key, keys.secret_key, bucket, str(source), dataset, lane]
        return subprocess.Popen(
            [sys.executable, str(script), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    began = time.monotonic()
    assert start("undisturbed").wait() == 0
    whole_run = time.monotonic() - began
    undisturbed = Target(store, bucket, dataset="undisturbed").stored()
    assert len(undisturbed) == IMAGES * 2 + IMAGES // 3

    again = killed = 0
    for number in range(KILLS):
        target = Target(store, bucket, dataset=f"kill-{number}")
        process = start(target.dataset)
        time.sleep(whole_run * (number + 1) / (KILLS + 1))
        if process.poll() is not None:
            continue
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
        deadline = time.monotonic() + 5
        while s5cmds() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert s5cmds() == []
        there = {key for key in target.listed() if key.startswith(("images/", "thumbnails/", "crops/"))}
        published = "current.json" in target.listed()
        summary = target.deliver(
            source,
            settings={"save_thumbnails_method": "both", "use_s5cmd_when_available": lane == "s5cmd", "workers": 2},
        )
        assert published or summary.published
        assert target.stored() == undisturbed
        again += summary.counts.objects - (len(undisturbed) - len(there))
        assert target.deliver(source, settings={"save_thumbnails_method": "both"}).nothing_changed
    print(f"\n{lane}: {killed} kills, {again} of {killed * len(undisturbed)} objects sent twice")
    assert killed > KILLS // 2
    assert again == 0
