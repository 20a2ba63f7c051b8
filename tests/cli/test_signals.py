"""A signal that comes while the command works: it ends in words, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest

from imagehaul.ledger.catalog import Catalog
from tests.support.commanding import COMMAND, imagehaul, in_a_process, last_json, refused
from tests.support.delivering import draw

INTERRUPTED = "imagehaul: Interrupted. What was proven stays; run again to go on from there."


@pytest.mark.parametrize(
    ("number", "engine"),
    [(signal.SIGINT, "s5cmd"), (signal.SIGTERM, "s5cmd"), (signal.SIGTERM, "boto3"), (signal.SIGHUP, "s5cmd")],
)
def test_a_signal_ends_the_run_without_a_traceback_and_leaves_no_child(
    number: signal.Signals, engine: str, environment: dict[str, str], tmp_path: Path
) -> None:
    picture = draw(tmp_path / "many" / "0.jpg", size=(1600, 1200))
    for image in range(1, 400):
        (tmp_path / "many" / f"{image}.jpg").write_bytes(picture + bytes(str(image), "ascii"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [COMMAND, "deliver", tmp_path / "many", "--dataset", "cli", "--scratch", str(scratch)],
        env={**environment, "USE_S5CMD_WHEN_AVAILABLE": str(engine == "s5cmd")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where the tests run in the background of a shell, or by nohup, these come down to us ignored.
        preexec_fn=lambda: [signal.signal(ignored, signal.SIG_DFL) for ignored in (signal.SIGINT, signal.SIGHUP)],
    )
    assert process.stderr
    seen = ""
    while "sends" not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    run = psutil.Process(process.pid)
    deadline = time.monotonic() + 20
    children = run.children(recursive=True)
    wanted = "s5cmd" if engine == "s5cmd" else "python"
    while not any(child.name().startswith(wanted) for child in children):
        assert time.monotonic() < deadline, f"no {wanted} was seen"
        time.sleep(0.005)
        children = run.children(recursive=True)
    process.send_signal(number)
    _, rest = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Interrupted" in rest
    assert "Traceback" not in rest
    assert list(scratch.iterdir()) == []
    # An s5cmd has a session of its own, so that no look at the process group finds it.
    assert psutil.wait_procs(children, timeout=5)[1] == []


def test_a_signal_while_duckdb_works_ends_the_run_as_any_other(
    source: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_work(catalog: Catalog, *_: str) -> None:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        catalog.execute("SELECT count(*) FROM range(100_000_000_000) t (n) WHERE hash(n) % 7 = 9")

    with monkeypatch.context() as patched:
        patched.setattr(Catalog, "fill", at_work)
        done = imagehaul("deliver", source, "--dataset", "cli", "--json", environment=environment)
    assert refused(done, 1) == INTERRUPTED
    assert last_json(done) == {"error": INTERRUPTED.removeprefix("imagehaul: "), "exit_status": 1}
    done = imagehaul("deliver", source, "--dataset", "cli", "--when-locked", "refuse", environment=environment)
    assert done.returncode == 0, done.stderr


def test_a_signal_during_the_imports_is_told_in_words_and_json(tmp_path: Path) -> None:
    (tmp_path / "cyclopts.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n")
    done = in_a_process("deliver", "source", "--json", environment={"PYTHONPATH": str(tmp_path)})
    assert refused(done, 1) == INTERRUPTED
    assert last_json(done) == {"error": INTERRUPTED.removeprefix("imagehaul: "), "exit_status": 1}


def test_a_signal_while_python_removes_an_object_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "cyclopts.py").write_text(
        """import os, signal, time
class Removed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
Removed()
time.sleep(20)
"""
    )
    began = time.monotonic()
    done = in_a_process("deliver", "source", "--json", environment={"PYTHONPATH": str(tmp_path)})
    assert refused(done, 1) == INTERRUPTED
    assert last_json(done) == {"error": INTERRUPTED.removeprefix("imagehaul: "), "exit_status": 1}
    assert time.monotonic() - began < 15
