"""The command, as a user has it: on the path, with a store's address and keys in its environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagehaul.store.endpoint import Store
from tests.support.delivering import draw


@pytest.fixture
def environment(store: Store, bucket: str, tmp_path: Path) -> dict[str, str]:
    keys = store.keys()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "OBJECT_STORE_URL": store.url,
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "REMOTE_SAVE": f"s3://{bucket}/pre/",
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three pictures."""
    for number in range(3):
        draw(tmp_path / "source" / f"{number}.jpg", seed=number)
    return tmp_path / "source"
