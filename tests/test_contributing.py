"""CONTRIBUTING.md: its steps for a new source and a new export, followed to the letter in a copy of the package."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from imagehaul.store.endpoint import Store
from tests.support.delivering import Target, draw

ROOT = Path(__file__).parents[1]
_FILE = re.compile(r"<!-- file: (\S+) -->\n```python\n(.*?)```", re.DOTALL)
_EDIT = re.compile(r"<!-- edit: (\S+) -->\n```diff\n(.*?)```", re.DOTALL)


def follow_the_steps(copy: Path) -> None:
    """Writes the files, and makes the edits: lines with - become those with + that follow them."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    files, edits = _FILE.findall(text), _EDIT.findall(text)
    assert (len(files), len(edits)) == (2, 3)
    for name, content in files:
        assert not (copy / name).exists()
        (copy / name).write_text(content)
    for name, diff in edits:
        content = (copy / name).read_text()
        for old, new in re.findall(r"^-(.*)\n((?:\+.*\n)+)", diff, re.MULTILINE):
            assert content.count(old) == 1, f"{name} has no such line any more: {old}"
            content = content.replace(old, re.sub(r"^\+", "", new, flags=re.MULTILINE).removesuffix("\n"))
        (copy / name).write_text(content)


def test_a_new_source_and_a_new_export_are_a_file_and_a_line_each(store: Store, bucket: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "imagehaul", copy / "imagehaul", ignore=shutil.ignore_patterns("__pycache__"))
    follow_the_steps(copy)
    for camera in ("east", "west"):
        draw(tmp_path / "cameras" / camera / "front.jpg", seed=len(camera))
        draw(tmp_path / "cameras" / camera / "back.jpg")
    keys = store.keys()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PREFECT_"))}
    arguments = [f"glob:{tmp_path}/cameras/*/front.jpg", "--dataset", "set", "--exports", "urls", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "imagehaul", "deliver", *arguments],
        cwd=tmp_path, capture_output=True, text=True, timeout=180,
        env={
            **kept, "PYTHONPATH": str(copy), "REMOTE_SAVE": f"s3://{bucket}/pre/", "OBJECT_STORE_URL": store.url,
            "AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["planned"], said["delivered"]) == (2, 2)
    target, images = (
        Target(store, bucket),
        [f"images{tmp_path}/cameras/{camera}/front.jpg" for camera in ("east", "west")],
    )
    assert target.listed("images/") == images
    urls = target.read(said["exports"]["urls"].partition("/pre/set/")[2]).decode()
    assert urls.splitlines() == [f"/image/set/{image}" for image in images]


def test_every_room_is_on_the_map() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## The map")[2].partition("## How to add")[0]
    rooms = {folder.name for folder in (ROOT / "imagehaul").iterdir() if (folder / "__init__.py").is_file()}
    assert {room for room in rooms if f"{room}/" not in text} == set()
