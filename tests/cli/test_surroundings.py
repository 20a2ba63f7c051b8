"""The process that the command is started in: streams, locale, home, working and scratch folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.commanding import COMMAND
from tests.support.delivering import draw


@pytest.fixture
def source(tmp_path: Path) -> Path:
    draw(tmp_path / "ordner-\u00e4" / "\u65e5\u672c.jpg")
    return tmp_path / "ordner-\u00e4"


def deliver(source: Path, environment: dict[str, str], shell: str = "", **options: Any) -> Any:
    """`shell`: what stands behind the command, to send its streams elsewhere."""
    command = f'exec "$0" deliver "$1" --dataset d --json {shell}'
    return subprocess.run(
        ["sh", "-c", command, str(COMMAND), str(source)], env=environment, capture_output=True, timeout=120, **options
    )


def test_a_locale_without_utf8_changes_no_name_and_rejects_no_picture(
    source: Path, environment: dict[str, str]
) -> None:
    environment |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    done = deliver(source, environment)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["delivered"], told["rejected"]) == (1, 0)


@pytest.mark.parametrize("shell", ["2>&-", "2>/dev/full"])
def test_a_report_that_cannot_be_written_ends_no_delivery(
    shell: str, source: Path, environment: dict[str, str]
) -> None:
    done = deliver(source, environment, shell)
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[-1])["delivered"] == 1


def test_a_summary_that_cannot_be_written_is_no_failure(source: Path, environment: dict[str, str]) -> None:
    done = deliver(source, environment, ">/dev/full")
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", ["nginx", "sources --dataset d --json", "verify --dataset d --json", "diff {0} {0} --dataset d"]
)
def test_a_command_whose_output_is_lost_has_failed(command: str, source: Path, environment: dict[str, str]) -> None:
    run = json.loads(deliver(source, environment).stdout.splitlines()[-1])["run"]
    shell = f'"{COMMAND}" {command.format(run)}'
    done = subprocess.run(["sh", "-c", f"exec {shell} >/dev/full"], env=environment, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert "imagehaul: The output could not be written: No space left on device. " in done.stderr.decode()
    # Nobody reads what a closed pipe would hold.
    status = subprocess.run(
        ["bash", "-c", f'{shell} | true; echo "${{PIPESTATUS[0]}}"'], env=environment, capture_output=True, timeout=60
    )
    assert (status.stdout, b"Traceback" in status.stderr) == (b"0\n", False)


def refused(done: Any, *words: str) -> None:
    message = done.stderr.decode()
    assert done.returncode == 2, message
    assert "Traceback" not in message
    assert all(word in message for word in words), message


def test_a_working_folder_that_is_gone_is_named(source: Path, environment: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    command = f'rmdir "{folder}"; exec "$0" deliver "$1" --dataset d'
    done = subprocess.run(
        ["sh", "-c", command, str(COMMAND), str(source)], env=environment, cwd=folder, capture_output=True, timeout=60
    )
    refused(done, "working folder")


@pytest.mark.parametrize("name", ["odd?", "odd*", "odd[", "odd\\"])
def test_a_folder_for_temporary_files_that_cannot_be_used_is_named(
    name: str, source: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()
    refused(deliver(source, environment | {"TMPDIR": str(tmp_path / name)}), "TMPDIR", name, "SCRATCH")


def test_a_user_without_a_home_can_deliver(source: Path, environment: dict[str, str]) -> None:
    """As in a container that runs under any number."""
    del environment["HOME"]
    code = (
        "import os, pwd, sys; pwd.getpwuid = lambda uid: {}[uid]\n"
        "from imagehaul.cli.command import main\n"
        f"sys.argv = ['imagehaul', 'deliver', {str(source)!r}, '--dataset', 'd', '--dry-run']\n"
        "sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
