"""The programs in examples/, run as their first lines say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagehaul.store.endpoint import Store
from tests.support.delivering import Target, draw
from tests.support.prefect_runs import Prefect, save_block

EXAMPLES = Path(__file__).parents[1] / "examples"
BOXES = (
    "filename,label,col_x,row_y,width,height\na.jpg,boat,10,20,40,40\nb.jpg,boat,17,20,20,20\nb.jpg,buoy,1,1,10,10\n"
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a.jpg", "b.jpg")):
        draw(tmp_path / "source" / name, seed=seed)
    (tmp_path / "source" / "object_annotations.csv").write_text(BOXES)
    return tmp_path / "source"


@pytest.fixture
def environment(store: Store, bucket: str) -> dict[str, str]:
    keys = store.keys()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PREFECT_"))}
    return {
        **kept,
        "REMOTE_SAVE": f"s3://{bucket}/pre/",
        "OBJECT_STORE_URL": store.url,
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
    }


def started(
    example: str, *arguments: object, cwd: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / example), *map(str, arguments)],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=180,
    )  # fmt: skip


def run(example: str, *arguments: object, cwd: Path, environment: dict[str, str]) -> str:
    done = started(example, *arguments, cwd=cwd, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_is_not_there_is_named_and_no_argument_shows_how(
    bucket: str, environment: dict[str, str], tmp_path: Path
) -> None:
    how = started("read_an_export.py", cwd=tmp_path, environment=environment)
    assert (how.returncode, "python examples/read_an_export.py s3://" in how.stderr) == (1, True)
    absent = started("read_an_export.py", f"s3://{bucket}/pre/none/", cwd=tmp_path, environment=environment)
    assert (absent.returncode, absent.stderr.splitlines()) == (
        1,
        [f"s3://{bucket}/pre/none/ holds no current.json. Is it the folder of a data set that was published?"],
    )


def test_a_folder_is_delivered_from_python_and_its_export_read_with_duckdb(
    source: Path, store: Store, bucket: str, environment: dict[str, str], tmp_path: Path
) -> None:
    said = run("deliver_a_folder.py", source, "set", cwd=tmp_path, environment=environment)
    target = Target(store, bucket)
    assert "2 images: 2 delivered" in said
    assert f"The index is at s3://{bucket}/pre/set/exports/{target.current()['run']}/" in said
    assert len(target.listed("crops/")) == 3
    read = run("read_an_export.py", f"s3://{bucket}/pre/set/", cwd=tmp_path, environment=environment)
    assert read.splitlines() == ["boat: 2 objects of 1000 pixels", "buoy: 1 objects of 100 pixels"]


@pytest.mark.prefect
def test_a_flow_delivers_as_a_subflow_and_goes_on_with_the_index(
    source: Path, store: Store, bucket: str, prefect: Prefect, tmp_path: Path
) -> None:
    with prefect.used_here():
        save_block("examples", store)
    said = run(
        "deliver_as_a_subflow.py", source, "set", f"s3://{bucket}/pre/", "examples",
        cwd=tmp_path, environment=prefect.environment,
    )  # fmt: skip
    assert said.splitlines()[-1] == "{'boat': 2, 'buoy': 1}"
