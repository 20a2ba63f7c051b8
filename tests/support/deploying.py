"""`imagehaul deploy`, what a test gives it, and what lies on the server afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse

from imagehaul.flows.deploy import Deployer
from tests.support.prefect_runs import DEPLOYMENTS

ENVIRONMENT = {"REMOTE_SAVE": "s3://bucket/from-environment/"}


def deploy(*names: str, file: Path = DEPLOYMENTS, environ: dict[str, str] = ENVIRONMENT) -> dict[str, str]:
    """Obstacles, by name."""
    return {done.name: done.obstacle for done in Deployer(file, None, environ).deploy(names)}


def stored(client: SyncPrefectClient, name: str) -> DeploymentResponse:
    return client.read_deployment_by_name(name)


def write(folder: Path, **entry: Any) -> Path:
    """A file with one deployment."""
    content = {
        "name": "own",
        "entrypoint": "imagehaul.flows.deliver.deliver",
        "work_pool": {"name": "imagehaul"},
        **entry,
    }
    file = folder / "prefect.yaml"
    file.write_text(json.dumps({"deployments": [content]}))
    return file


def with_data_sets(folder: Path, *rows: dict[str, Any]) -> Path:
    """The project's own file, with data sets that are delivered by a schedule."""
    file = folder / "prefect.yaml"
    file.write_text(DEPLOYMENTS.read_text().replace("data_sets: []", f"data_sets: {json.dumps(rows)}"))
    return file
