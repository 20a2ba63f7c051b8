"""`imagehaul automations`: who is told of a failed delivery or of many rejected images, and what marks a lost run."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect.automations import Automation
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.schemas.automations import AutomationCore, EventTrigger
from prefect.exceptions import ObjectNotFound
from prefect.states import Suspended
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from imagehaul.errors import SettingsError
from imagehaul.flows.prefect_server import needing_api, reach_api, ui_url
from imagehaul.flows.waiting import WAITING

LOST_RUNS = "imagehaul: a run was lost with its worker"
NO_PROCESS = {f"prefect.flow-run.{name}" for name in (Suspended().name, WAITING)}
"""Events of a run that waits and has ended its process: no heartbeat comes, and nothing is lost."""


def install(file: Path, notify: str = "", rejected: float = 0.05) -> list[str]:
    """The names of what was installed or brought up to date.

    `notify`: a notification block, such as "slack-webhook/team"; "": what needs none, which marks runs that were lost
    with their worker. `rejected`: the share of rejected images, 0 to 1, beyond which people are told.
    Raises `HaulError`.
    """
    if not 0 <= rejected < 1:
        raise SettingsError(f"--rejected {rejected:g} is no share: give a number from 0 to below 1, such as 0.05.")
    entries = _read(file)
    reach_api()
    percent = math.floor(100 * rejected) + 1
    values: dict[str, Any] = {"REJECTED": [str(number) for number in range(percent, 101)]}
    with needing_api("Run this again then."):
        if notify:
            values["NOTIFY"] = _block_id(notify)
        else:
            entries = [entry for entry in entries if all("block_document_id" not in act for act in entry["actions"])]
        asyncio.run(_save([Automation(**_filled_in(entry, values)) for entry in entries]))
    return [str(entry["name"]) for entry in entries]


def renew_lost_runs(client: SyncPrefectClient) -> list[str]:
    """What marks lost runs, as an earlier version installed it, lets runs that wait be from now on.

    Returns what was done, or that nothing marks them: each installation has that automation.
    """
    found = client.read_automations_by_name(LOST_RUNS)
    said = []
    for automation in found:
        trigger = automation.trigger
        if isinstance(trigger, EventTrigger) and not trigger.expect >= NO_PROCESS:
            trigger.expect |= NO_PROCESS
            client.update_automation(
                automation.id, AutomationCore(**automation.model_dump(exclude={"id", "owner_resource"}))
            )
            said.append(f"The automation {LOST_RUNS!r} marks runs that wait as crashed no more.")
    return said if found else ["A run whose worker dies stays Running. To have it marked: imagehaul automations"]


async def _save(automations: Sequence[Automation]) -> None:
    """Those that are there already, by their names, are brought up to date, and stay off where somebody wants that."""
    for automation in automations:
        try:
            found = await Automation.aread(name=automation.name)
        except ValueError:
            await automation.acreate()
        else:
            automation.id, automation.enabled = found.id, found.enabled
            await automation.aupdate()


def _read(file: Path) -> list[dict[str, Any]]:
    try:
        entries = YAML(typ="safe", pure=True).load(file.read_text("utf-8"))["automations"]
        return [dict(entry) for entry in entries]
    except OSError as error:
        raise SettingsError(f"The automations in {file} cannot be read: {error.strerror}.") from None
    except (YAMLError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"{file} holds no list of automations: {error}") from None


def _filled_in(entry: Any, values: dict[str, Any]) -> Any:
    if isinstance(entry, dict):
        return {key: _filled_in(value, values) for key, value in entry.items()}
    if isinstance(entry, list):
        return [_filled_in(value, values) for value in entry]
    return values.get(entry, entry) if isinstance(entry, str) else entry


def _block_id(slug: str) -> str:
    kind, _, name = slug.partition("/")
    try:
        with get_client(sync_client=True) as client:
            return str(client.read_block_document_by_name(name, kind, include_secrets=False).id)
    except (ObjectNotFound, ValueError):
        raise SettingsError(
            f"There is no notification block {json.dumps(slug)}. Make one at {ui_url()}/blocks/catalog, of the type "
            "Custom Webhook, Slack or another, and name it as TYPE/NAME, such as custom-webhook/team."
        ) from None
