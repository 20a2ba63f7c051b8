"""`imagehaul deploy`: block types, the work pool, and the deployments of `prefect.yaml`.

The file stays one that `prefect deploy --all` reads, too. What is done here on top of that: settings are resolved and
written in, blocks are stored by their id (by their slug, the form shows none as chosen), relative folders become
absolute, and a schedule that somebody switched on or off stays so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import DeploymentApplyError, RunnerDeployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.schedules import Cron, Interval, RRule, Schedule
from prefect.types.entrypoint import EntrypointType
from prefect.utilities.importtools import import_object
from prefect.workers.process import ProcessWorker
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from imagehaul.blocks import ObjectStore, ObjectStoreCredentials
from imagehaul.errors import SettingsError
from imagehaul.flows.parameters import form_of
from imagehaul.flows.prefect_server import reach_api, ui_url
from imagehaul.settings_loading import resolve_settings

KEYS = {
    "name",
    "description",
    "tags",
    "version",
    "entrypoint",
    "parameters",
    "schedules",
    "concurrency_limit",
    "work_pool",
    "pull",
}
SCHEDULES: dict[str, Callable[..., Schedule]] = {"cron": Cron, "interval": Interval, "rrule": RRule}


@dataclass(frozen=True, slots=True)
class Deployed:
    """`name` is "flow/deployment". `obstacle`: why it was not deployed and what to do, "" where it was."""

    name: str
    obstacle: str = ""


@dataclass
class Deployer:
    """`file`: a `prefect.yaml`; its folder is the one that relative folders and `.vl/config.json` lie in."""

    file: Path
    config: Path | None
    environ: Mapping[str, str]
    warnings: list[str] = field(default_factory=list)

    def deploy(self, names: Sequence[str] = ()) -> list[Deployed]:
        """Those `names` ("minio" or "deliver/minio"), or all. Raises `HaulError` where nothing can be deployed."""
        content = self._read()
        reach_api()
        outcomes = []
        with get_client(sync_client=True) as client:
            for block in (ObjectStoreCredentials, ObjectStore):
                block.register_type_and_schema()
            for entry in self._wanted(content, names):
                flow = import_object(entry["entrypoint"])
                name = f"{flow.name}/{entry['name']}"
                try:
                    resolved = self._resolved(entry, name, set(flow.parameters.properties), client)
                    _make_work_pool(client, entry["work_pool"]["name"])
                    _apply(resolved, flow)
                    outcomes.append(Deployed(name))
                except SettingsError as error:
                    outcomes.append(Deployed(name, str(error)))
        return outcomes

    def _read(self) -> dict[str, Any]:
        try:
            content = YAML(typ="safe", pure=True).load(self.file.read_text("utf-8"))
        except OSError as error:
            raise SettingsError(
                f"The deployments in {self.file} cannot be read: {error.strerror}. Run this in the folder of "
                "prefect.yaml, or name the file with --file."
            ) from None
        except (YAMLError, UnicodeDecodeError) as error:
            raise SettingsError(f"{self.file} is no YAML: {error}") from None
        if not isinstance(content, dict) or not isinstance(content.get("deployments"), list):
            raise SettingsError(f"{self.file} has no list of deployments.")
        for entry in content["deployments"]:
            if missing := [key for key in ("name", "entrypoint", "work_pool") if key not in entry]:
                raise SettingsError(f"A deployment in {self.file} has no {missing[0]}.")
        return content

    def _wanted(self, content: dict[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = content["deployments"]
        known = {f"{entry['entrypoint'].split('.')[-1].replace('_', '-')}/{entry['name']}": entry for entry in entries}
        chosen: list[dict[str, Any]] = []
        for name in names:
            found = [entry for full, entry in known.items() if name in (full, entry["name"])]
            if not found:
                raise SettingsError(f"{self.file} has no deployment {name!r}. It has {', '.join(known)}.")
            chosen += found
        return chosen or entries

    def _resolved(self, entry: dict[str, Any], name: str, takes: set[str], client: SyncPrefectClient) -> dict[str, Any]:
        """The entry as it is stored. Raises `SettingsError`: what stands against it, and what to do."""
        if unknown := [key for key, value in entry.items() if key not in KEYS or (key == "pull" and value)]:
            raise SettingsError(
                f"imagehaul deploy knows no {', '.join(unknown)}: leave it out, or deploy this one by prefect deploy."
            )
        parameters = self._parameters(entry.get("parameters") or {}, name, takes, client)
        active = _active_schedules(client, name)
        schedules = []
        for schedule in entry.get("schedules") or []:
            schedule = {**schedule, "active": active.get(schedule.get("slug"), schedule.get("active", True))}
            if own := schedule.get("parameters"):
                if "settings" in own:
                    own = {**own, "settings": {**parameters.get("settings", {}), **own["settings"]}}
                schedule["parameters"] = self._parameters(own, name, takes & set(own), client)
            schedules.append(schedule)
        return {**entry, "parameters": parameters, "schedules": schedules}

    def _parameters(
        self, given: dict[str, Any], name: str, takes: set[str], client: SyncPrefectClient
    ) -> dict[str, Any]:
        if "{{" in json.dumps(given):
            raise SettingsError(
                f"The parameters of {name} in {self.file} hold a template ({{{{ }}}}). Parameters are stored in clear, "
                "and it may stand for a secret: name the block as {$ref: {block_document_slug: TYPE/NAME}}."
            )
        found = {key: _by_id(value, client) for key, value in given.items()}
        for key in ("source", "annotations"):
            if place := found.get(key):
                found[key] = (
                    [self._absolute(one) for one in place] if isinstance(place, list) else self._absolute(place)
                )
        if "settings" in takes:
            settings, warnings = resolve_settings(
                found.get("settings") or {}, self.config, self.environ, self.file.parent
            )
            self.warnings += [warning for warning in warnings if warning not in self.warnings]
            found["settings"] = form_of(settings)
        return found

    def _absolute(self, place: str) -> str:
        return place if "://" in place else str((self.file.parent / place).absolute())


def _apply(entry: dict[str, Any], flow: Flow[Any, Any]) -> None:
    """Not by `prefect deploy`: that writes the blocks which are referred to by id into the deployment, keys and all."""
    pool = entry["work_pool"]
    try:
        deployment = flow.to_deployment(
            entry["name"],
            description=entry.get("description"),
            tags=entry.get("tags"),
            version=entry.get("version"),
            parameters=entry["parameters"],
            schedules=[_schedule(schedule) for schedule in entry["schedules"]],
            concurrency_limit=ConcurrencyLimitConfig(**entry["concurrency_limit"])
            if "concurrency_limit" in entry
            else None,
            work_pool_name=pool["name"],
            work_queue_name=pool.get("work_queue_name"),
            job_variables=pool.get("job_variables"),
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        assert isinstance(deployment, RunnerDeployment)
        deployment.apply()
    except (DeploymentApplyError, PrefectHTTPStatusError, ValueError, TypeError) as error:
        said = re.search(r"'msg': (['\"])(.*?)\1", str(error))
        raise SettingsError(f"Prefect does not take it: {said[2] if said else str(error)[:300]}") from None


def _schedule(given: dict[str, Any]) -> Schedule:
    kind = next((kind for kind in SCHEDULES if kind in given), None)
    if not kind or not given.get("slug"):
        raise SettingsError(
            f"A schedule needs a slug, by which it is found again, and cron, interval or rrule: {given}."
        )
    options = {key: value for key, value in given.items() if key != kind}
    return SCHEDULES[kind](given[kind], **options)


def _by_id(value: Any, client: SyncPrefectClient) -> Any:
    """A reference to a block by its slug, "type/name", becomes one by its id."""
    if not (isinstance(value, dict) and isinstance(value.get("$ref"), dict)):
        return value
    slug = value["$ref"].get("block_document_slug", "")
    kind, _, name = slug.partition("/")
    if not name:
        return value
    try:
        block = client.read_block_document_by_name(name, kind, include_secrets=False)
    except ObjectNotFound:
        raise SettingsError(
            f"There is no block {name!r} of the type {kind}. Make it at {ui_url()}/blocks/catalog/{kind}/create "
            f"under the name {name}, and deploy again."
        ) from None
    return {"$ref": {"block_document_id": str(block.id)}}


def _active_schedules(client: SyncPrefectClient, name: str) -> dict[str | None, bool]:
    try:
        deployment = client.read_deployment_by_name(name)
    except ObjectNotFound:
        return {}
    return {schedule.slug: schedule.active for schedule in deployment.schedules if schedule.slug}


def _make_work_pool(client: SyncPrefectClient, name: str) -> None:
    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(
            WorkPoolCreate(
                name=name, type="process", base_job_template=template, description="Deliveries by imagehaul."
            )
        )
