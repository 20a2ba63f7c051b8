"""Whether a Prefect API is configured is known without importing Prefect."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from imagehaul.flows.prefect_api import is_configured


def profiles(home: Path, text: str) -> dict[str, str]:
    home.mkdir(exist_ok=True)
    (home / "profiles.toml").write_text(text)
    return {"PREFECT_HOME": str(home)}


def test_a_variable_configures_it(tmp_path: Path) -> None:
    assert is_configured({"PREFECT_API_URL": "http://127.0.0.1:4200/api", "PREFECT_HOME": str(tmp_path)})


def test_nothing_configures_nothing(tmp_path: Path) -> None:
    assert not is_configured({"PREFECT_HOME": str(tmp_path)})


def test_the_active_profile_counts(tmp_path: Path) -> None:
    text = 'active = "work"\n[profiles.work]\nPREFECT_API_URL = "http://h/api"\n[profiles.ephemeral]\nX = "1"\n'
    environ = profiles(tmp_path, text)
    assert is_configured(environ)
    assert not is_configured({**environ, "PREFECT_PROFILE": "ephemeral"})


def test_a_profile_without_an_api_does_not_count(tmp_path: Path) -> None:
    assert not is_configured(
        profiles(tmp_path, 'active = "e"\n[profiles.e]\nPREFECT_SERVER_ALLOW_EPHEMERAL_MODE = "1"\n')
    )


def test_a_broken_file_is_left_to_prefect_to_complain_about(tmp_path: Path) -> None:
    assert not is_configured(profiles(tmp_path, "not toml ["))


def test_prefect_itself_agrees(tmp_path: Path) -> None:
    environ = profiles(tmp_path, 'active = "work"\n[profiles.work]\nPREFECT_API_URL = "http://h.invalid/api"\n')
    script = "from prefect.settings import get_current_settings as s; print(s().api.url)"
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "http://h.invalid/api"
    assert is_configured(environ)
