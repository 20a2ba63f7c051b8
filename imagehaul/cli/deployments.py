"""The commands that set up what Prefect runs by itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from imagehaul.cli.options import require_api
from imagehaul.cli.parameters import Config


def deploy(
    *names: Annotated[str, Parameter(help="Deployments to make, such as minio. Not given: all.")],
    file: Annotated[Path, Parameter(help="Where the deployments are described.")] = Path("prefect.yaml"),
    config: Config = None,
) -> int:
    require_api("deploy")
    from imagehaul.flows.deploy import Deployer

    deployer = Deployer(file, config, os.environ)
    outcomes = deployer.deploy(names)
    for warning in deployer.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    for outcome in outcomes:
        print(f"{outcome.name}: {'left out. ' if outcome.left_out else ''}{outcome.obstacle or 'deployed'}")
    return 1 if any(outcome.obstacle and not outcome.left_out for outcome in outcomes) else 0


def automations(
    *,
    notify: Annotated[
        str,
        Parameter(
            help="A notification block of Prefect: TYPE/NAME, such as slack-webhook/team. "
            "Not given: installs only what marks runs that were lost with their worker."
        ),
    ] = "",
    rejected: Annotated[float, Parameter(help="Tells when a larger share of the images than this is rejected.")] = 0.05,
    file: Annotated[Path, Parameter(help="Where the automations are described.")] = Path("automations.yaml"),
) -> int:
    require_api("install automations")
    from imagehaul.flows.automations import install

    for name in install(file, notify, rejected):
        print(name)
    return 0
