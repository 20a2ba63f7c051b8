"""The worker's image, as far as it can be looked at without an engine: what it copies, runs and must not hold."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
TEXT = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
LAST = TEXT[TEXT.rindex("\nFROM ") :]


def test_what_is_copied_is_there() -> None:
    copied = [line.split()[1:-1] for line in re.findall(r"^COPY (?!--from).*", TEXT, re.M)]
    for line in re.findall(r"^COPY (?!--from)(.*)", TEXT, re.M):
        for name in line.split()[:-1]:
            assert (ROOT / name).exists(), name
    assert copied


def test_it_runs_as_a_user_of_its_own_has_a_health_check_and_no_key() -> None:
    assert re.search(r"^USER [1-9]\d+$", LAST, re.M)
    assert "HEALTHCHECK" in LAST
    assert not re.search(r"SECRET|PASSWORD|ACCESS_KEY|TOKEN", TEXT)


def test_the_locks_versions_are_constraints_that_pip_can_read() -> None:
    [script] = re.findall(r"sed -nE '([^']*)'", TEXT)
    done = subprocess.run(
        ["sed", "-nE", script, ROOT / "requirements.lock"], capture_output=True, text=True, check=True
    )
    versions = [Requirement(line) for line in done.stdout.splitlines()]
    assert {"prefect", "boto3", "pillow"} <= {version.name for version in versions}
    assert all(version.specifier and not version.extras for version in versions)


def test_the_command_starts_where_there_is_no_home(tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("imagehaul"), "--version"],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "imagehaul" in done.stdout
