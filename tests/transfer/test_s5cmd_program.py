"""The program s5cmd: found, and judged by its version."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from imagehaul.transfer.s5cmd_program import S5cmdUnusableError, find_s5cmd

REAL = find_s5cmd().binary


def program(folder: Path, script: str) -> Path:
    """A file that may be run; `script` without `#!` makes one that the system takes for a broken program."""
    file = folder / "s5cmd"
    file.write_text(script)
    file.chmod(0o755)
    return file


@pytest.fixture
def only_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package is not installed, and the PATH has this folder alone."""
    monkeypatch.setattr("imagehaul.transfer.s5cmd_program.files", lambda _: None)
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_the_package_s_own_binary_is_found_and_not_the_script_that_starts_it() -> None:
    assert REAL.read_bytes()[:4] == b"\x7fELF"
    assert find_s5cmd().version.startswith("v2.")


def test_one_on_the_path_is_found_where_the_package_is_missing(only_on_path: Path) -> None:
    (only_on_path / "s5cmd").symlink_to(REAL)

    assert find_s5cmd().binary == REAL


def test_behind_the_script_of_another_environment_its_binary_is_found(only_on_path: Path, tmp_path: Path) -> None:
    environment = tmp_path / "other"
    inside = environment / "lib/python3.12/site-packages/s5cmd/bin"
    inside.mkdir(parents=True)
    (inside / "s5cmd").symlink_to(REAL)
    (environment / "bin").mkdir()
    (only_on_path / "s5cmd").symlink_to(program(environment / "bin", "#!/usr/bin/env python3\n"))

    assert find_s5cmd().binary == inside / "s5cmd"


def test_no_s5cmd_at_all_is_said(only_on_path: Path) -> None:
    with pytest.raises(S5cmdUnusableError, match="no s5cmd is installed"):
        find_s5cmd()


def test_a_script_is_refused_since_its_end_would_leave_the_program_running(only_on_path: Path) -> None:
    program(only_on_path, "#!/bin/sh\necho v2.3.0\n")

    with pytest.raises(S5cmdUnusableError, match="is a script"):
        find_s5cmd()


def test_a_file_that_does_not_run_is_said(only_on_path: Path) -> None:
    program(only_on_path, "\x7fELF, but not really")

    with pytest.raises(S5cmdUnusableError, match="does not run"):
        find_s5cmd()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("v2.2.2-48f7e59", ""),
        ("v3.0.0", ""),
        ("v10.1.0", ""),
        ("v2.1.0", "is v2.1.0, and v2.2 or newer is needed"),
        ("v1.4.0-d7a0dda", "is v1.4.0-d7a0dda, and v2.2"),
        ("s5cmd, I believe", "does not say its version"),
        ("", "does not say its version"),
    ],
)
def test_the_version_decides(only_on_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, reason: str) -> None:
    """`true` and `echo` are programs; what they say in s5cmd's place is put into their mouth."""
    (only_on_path / "s5cmd").symlink_to("/bin/true")
    said = subprocess.CompletedProcess[str]([], 0, stdout=words + "\n")
    monkeypatch.setattr("imagehaul.transfer.s5cmd_program.subprocess.run", lambda *_, **__: said)

    if reason:
        with pytest.raises(S5cmdUnusableError, match=reason):
            find_s5cmd()
    else:
        assert find_s5cmd().version == words
