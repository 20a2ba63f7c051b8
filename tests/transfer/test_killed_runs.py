"""A program that sends ends with the run that started it, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.support.misbehaving import Misbehaving, silent_until
from tests.support.sending import sender_of, uploads_of

RUN = """
    import sys
    from pathlib import Path
    url, folder, engine = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    sys.path.insert(0, sys.argv[4])
    from tests.support.sending import upload_of
    from imagehaul.store.credentials import AccessKey
    from imagehaul.records import ObjectOptions
    from imagehaul.store.endpoint import Store
    from imagehaul.transfer.engines import choose_engine
    store = Store(url=url, credentials=AccessKey("key", "secret"))
    engine = choose_engine(store, "bucket", engine, 8, ObjectOptions())
    print("ready", flush=True)
    engine.send([upload_of(folder / "file 0", "a.jpg")], folder)
"""


@pytest.mark.every_store
@pytest.mark.parametrize("engine", ["s5cmd", "obstore"])
def test_no_sender_outlives_a_run_that_is_killed(engine: str, tmp_path: Path) -> None:
    uploads_of(tmp_path, ["a.jpg"])
    over, tests = threading.Event(), str(Path(__file__).parents[2])
    with Misbehaving(silent_until(over)) as server:
        command = [sys.executable, "-c", textwrap.dedent(RUN), server.store.url, str(tmp_path), engine, tests]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as ours:
            assert ours.stdout
            ours.stdout.readline()
            child = sender_of(ours.pid, engine)
            deadline = time.monotonic() + 20
            while not server.requests and time.monotonic() < deadline:
                time.sleep(0.01)
            assert server.requests
            os.kill(ours.pid, signal.SIGKILL)
        over.set()

    _, alive = psutil.wait_procs([child], timeout=5)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
