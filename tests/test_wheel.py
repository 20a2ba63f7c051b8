"""The wheel, in an environment where nothing else of this project is, beside a project with `flows` and `blocks`.

Prefect's own templates call these folders so: whoever installs imagehaul has them, and both must work. The environment
sees the libraries of the one that runs the tests, by a path file, so that nothing is downloaded; a path file of theirs,
such as the one that leads to this checkout, does not count there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from imagehaul.store.endpoint import Store
from tests.support.delivering import Target, draw
from tests.support.prefect_runs import Prefect, save_block

pytestmark = [pytest.mark.slow, pytest.mark.prefect]
ROOT = Path(__file__).parents[1]

NIGHTLY = """
from pathlib import Path

from prefect import flow

import blocks
import imagehaul.blocks
import imagehaul.flows.deliver
from imagehaul.blocks import ObjectStore
from imagehaul.flows.deliver import deliver


@flow
def nightly(source: str, remote_save: str) -> int:
    summary = deliver("nightly", source, ObjectStore.load("wheel"), settings={"remote_save": remote_save})
    return summary.counts.delivered


def places() -> list[Path]:
    modules = (__import__("flows"), blocks, imagehaul.flows.deliver, imagehaul.blocks)
    return [Path(module.__file__).parent for module in modules]
"""
CALL = """
import sys

from flows.nightly import nightly, places

print(*places(), nightly(*sys.argv[1:]), sep="\\n")
"""

Run = Callable[..., str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its programs."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    programs = folder / "bin"
    install = ["--python", str(programs / "python"), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *install], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return programs


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of somebody who uses Prefect."""
    for package in ("flows", "blocks"):
        (tmp_path / "project" / package).mkdir(parents=True)
        (tmp_path / "project" / package / "__init__.py").touch()
    (tmp_path / "project" / "flows" / "nightly.py").write_text(NIGHTLY)
    return tmp_path / "project"


@pytest.fixture
def run(environment: Path, project: Path, store: Store, bucket: str, prefect: Prefect) -> Run:
    """Runs a program of the environment from the project's folder, which is on the path, too."""
    keys = store.keys()
    kept = {name: value for name, value in prefect.environment.items() if name not in ("VIRTUAL_ENV", "PYTHONHOME")}
    variables = {
        **kept,
        "PATH": f"{environment}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project),
        "REMOTE_SAVE": f"s3://{bucket}/pre/",
        "OBJECT_STORE_URL": store.url,
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
    }

    def run(program: str, *arguments: object, before: Sequence[str] = (), without: Sequence[str] = ()) -> str:
        """`before`: a command that becomes the program. `without`: variables that it has not."""
        command = [*before, str(environment / program), *map(str, arguments)]
        env = {name: value for name, value in variables.items() if name not in without}
        done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_it_holds_the_package_and_nothing_beside_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"imagehaul"}
    assert {"imagehaul/py.typed", "imagehaul/flows/deliver.py", "imagehaul/blocks/object_store.py"} <= set(names)


def test_the_command_delivers_directly_and_as_a_flow_run(run: Run, project: Path, store: Store, bucket: str) -> None:
    draw(project / "pictures" / "a.jpg")
    run("imagehaul", "deliver", "pictures", "--dataset", "direct", "--no-prefect")
    run("python", "-m", "imagehaul", "deliver", "pictures", "--dataset", "flow", "--prefect")
    for dataset in ("direct", "flow"):
        assert Target(store, bucket, dataset=dataset).listed("images/") == ["images/a.jpg"]


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv, to be another user"
)
def test_a_user_without_a_home_and_a_name_delivers(run: Run, project: Path, store: Store, bucket: str) -> None:
    """A container may run under any number. It may read all here, since tests lie in folders of root's."""
    draw(project / "pictures" / "a.jpg")
    rights = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")
    nobody = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", *rights)
    for dataset, how in (("alone", "--no-prefect"), ("flow-alone", "--prefect")):
        run("imagehaul", "deliver", "pictures", "--dataset", dataset, how, before=nobody, without=("HOME",))
        target = Target(store, bucket, dataset=dataset)
        assert target.listed("images/") == ["images/a.jpg"]
        assert target.listed("thumbnails/") == ["thumbnails/a.jpg.jpg"]


def test_a_flow_of_the_project_calls_ours_and_neither_hides_the_other(
    run: Run, environment: Path, project: Path, store: Store, bucket: str, prefect: Prefect
) -> None:
    draw(project / "pictures" / "a.jpg")
    with prefect.used_here():
        save_block("wheel", store)
    said = run("python", "-c", CALL, project / "pictures", f"s3://{bucket}/pre/")
    *places, delivered = said.splitlines()[-5:]
    assert [Path(place).parent for place in places[:2]] == [project, project]
    assert all(Path(place).is_relative_to(environment.parent) for place in places[2:])
    assert delivered == "1"
    assert Target(store, bucket, dataset="nightly").listed("images/") == ["images/a.jpg"]
