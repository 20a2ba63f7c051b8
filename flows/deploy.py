"""`imagehaul deploy`: block types, the work pool, and the deployments of `prefect.yaml`.

What is done here that `prefect deploy` does not do: settings are resolved and written in, blocks are stored by their id
(by their slug, the form shows none as chosen), relative folders become absolute, each scheduled data set has a
deployment of its own, and what people did to a deployment stays: a pause, a limit, schedules of their own, and whether
a schedule is on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.runner import DeploymentApplyError, RunnerDeployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.types.entrypoint import EntrypointType
from prefect.utilities.importtools import import_object
from pydantic import ValidationError

from imagehaul.blocks import ObjectStore, ObjectStoreCredentials
from imagehaul.errors import SettingsError
from imagehaul.flows.automations import renew_lost_runs
from imagehaul.flows.deployment_file import SLUG, is_of_data_set, read_deployments
from imagehaul.flows.deployment_schedules import put_schedules, read_schedules, reason
from imagehaul.flows.out_of_date import renew_blocks, renew_deployments
from imagehaul.flows.parameters import form_of
from imagehaul.flows.prefect_server import needing_api, reach_api, ui_url
from imagehaul.flows.work_pools import make_room
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


class MissingBlockError(SettingsError):
    """A deployment is for a store that nobody has described: it is left out, unless it was asked for by name."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """`name` is "flow/deployment". `obstacle`: why it was not deployed and what to do, "" where it was.

    `left_out`: that is no failure, since all were to be deployed, and this one's block is not there.
    """

    name: str
    obstacle: str = ""
    left_out: bool = False


@dataclass
class Deployer:
    """`file`: a `prefect.yaml`; its folder is the one that relative folders and `.vl/config.json` lie in."""

    file: Path
    config: Path | None
    environ: Mapping[str, str]
    warnings: list[str] = field(default_factory=list)

    def deploy(self, names: Sequence[str] = ()) -> list[Deployed]:
        """Those `names` ("minio" or "deliver/minio"), or all. Raises `HaulError` where nothing can be deployed, or
        the API goes away.

        `warnings` then has what else is to be known: settings files, deployments that are out of date.
        """
        entries = read_deployments(self.file)
        reach_api()
        outcomes = []
        with needing_api("Deploy again then: what is deployed already stays."), get_client(sync_client=True) as client:
            for block in (ObjectStoreCredentials, ObjectStore):
                block.register_type_and_schema()
            self.warnings += renew_blocks(client)
            for name, entry in self._wanted(entries, names).items():
                try:
                    flow = self._flow(entry)
                    resolved = self._resolved(entry, name, set(flow.parameters.properties), client)
                    make_room(client, entry["work_pool"])
                    if kept := _apply(resolved, flow, client):
                        self.warnings.append(
                            f"{name} keeps schedules that {self.file.name} does not have: {', '.join(kept)}. Delete "
                            "them in the UI where nobody wants them."
                        )
                    outcomes.append(Deployed(name))
                except SettingsError as error:
                    outcomes.append(Deployed(name, str(error), isinstance(error, MissingBlockError) and not names))
            made = {done.name for done in outcomes if not done.obstacle}
            self.warnings += renew_deployments(client, made, entries.keys())
            self.warnings += renew_lost_runs(client)
        return outcomes

    def _wanted(self, entries: dict[str, dict[str, Any]], names: Sequence[str]) -> dict[str, dict[str, Any]]:
        chosen: dict[str, dict[str, Any]] = {}
        for name in names:
            found = {full: entry for full, entry in entries.items() if name in (full, entry["name"])}
            if not found:
                raise SettingsError(f"{self.file} has no deployment {name!r}. It has {', '.join(entries)}.")
            chosen |= found
        return chosen or entries

    def _flow(self, entry: dict[str, Any]) -> Flow[Any, Any]:
        """Raises `SettingsError`, whatever a file of flows does while it is imported."""
        entrypoint = entry["entrypoint"]
        try:
            with chdir(self.file.absolute().parent):
                flow = import_object(entrypoint)
        except Exception as error:
            raise SettingsError(
                f"Its entrypoint {entrypoint!r} cannot be loaded ({type(error).__name__}: {error}). Name a flow as "
                "package.module.flow or as path/of/file.py:flow, by a path from the folder of the file on."
            ) from None
        if not isinstance(flow, Flow):
            raise SettingsError(f"Its entrypoint {entrypoint!r} is no flow, but of the type {type(flow).__name__}.")
        return flow

    def _resolved(self, entry: dict[str, Any], name: str, takes: set[str], client: SyncPrefectClient) -> dict[str, Any]:
        """The entry as it is stored. Raises `SettingsError`: what stands against it, and what to do."""
        if unknown := [key for key in entry if key not in KEYS]:
            raise SettingsError(f"imagehaul deploy knows no {', '.join(unknown)}: leave it out.")
        if not isinstance(entry["work_pool"], dict) or not entry["work_pool"].get("name"):
            raise SettingsError(f"Its work_pool is {entry['work_pool']!r}: write a name under it.")
        parameters = self._parameters(entry.get("parameters") or {}, name, takes, client)
        before = _found(client, name)
        schedules = read_schedules(
            entry.get("schedules") or [], f"{name} in {self.file}", before.schedules if before else ()
        )
        limit = _limit(entry.get("concurrency_limit"))
        return {**entry, "parameters": parameters, "schedules": schedules, "concurrency_limit": limit}

    def _parameters(
        self, given: dict[str, Any], name: str, takes: set[str], client: SyncPrefectClient
    ) -> dict[str, Any]:
        if "{{" in json.dumps(given):
            raise SettingsError(
                f"The parameters of {name} in {self.file} hold a template ({{{{ }}}}). Parameters are stored in clear, "
                "and it may stand for a secret: name the block as {$ref: {block_document_slug: TYPE/NAME}}."
            )
        if unknown := [key for key in given if key not in takes]:
            raise SettingsError(
                f"The flow takes no {', '.join(unknown)}. It takes {', '.join(sorted(takes))}; flags go into settings."
            )
        found = {key: _by_id(value, client) for key, value in given.items()}
        if (through := found.get("deployment")) and not _found(client, through):
            raise MissingBlockError(f"It delivers through {through}, which is not deployed.")
        for key in ("source", "annotations"):
            if place := found.get(key):
                found[key] = (
                    [self._absolute(one) for one in place] if isinstance(place, list) else self._absolute(place)
                )
        if "settings" in takes:
            settings, warnings = resolve_settings(
                found.get("settings") or {}, self.config, self.environ, self.file.parent, f"in {self.file.name}"
            )
            self.warnings += [warning for warning in warnings if warning not in self.warnings]
            found["settings"] = form_of(settings)
        return found

    def _absolute(self, place: Any) -> str:
        if not isinstance(place, str):
            raise SettingsError(f"The source, or annotations, {place!r} is no text in YAML. Write it in quotes.")
        return place if "://" in place else str((self.file.parent / place).absolute())


def _apply(entry: dict[str, Any], flow: Flow[Any, Any], client: SyncPrefectClient) -> list[str]:
    """Not by `prefect deploy`: that writes the blocks which are referred to by id into the deployment, keys and all.

    Returns the schedules that the file does not have, which stay.
    """
    pool, limit = entry["work_pool"], entry["concurrency_limit"]
    try:
        deployment = flow.to_deployment(
            entry["name"],
            description=entry.get("description"),
            tags=entry.get("tags"),
            version=entry.get("version"),
            parameters=entry["parameters"],
            concurrency_limit=limit,
            work_pool_name=pool["name"],
            work_queue_name=pool.get("work_queue_name"),
            job_variables=pool.get("job_variables"),
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        assert isinstance(deployment, RunnerDeployment)
        # What is not sent stays on the server as somebody set it there. Sent as a list, schedules would replace all.
        deployment.model_fields_set.difference_update({"paused", "schedules"})
        if limit is None:
            deployment.model_fields_set.difference_update({"concurrency_limit", "concurrency_options"})
        found = client.read_deployment(deployment.apply(_sync=True))  # type: ignore[call-arg, arg-type]
        # An entrypoint by path, and steps that fetch it, are for a worker that has not installed the package.
        client.update_deployment(
            found.id, DeploymentUpdate(entrypoint=entry["entrypoint"], pull_steps=entry.get("pull") or [])
        )
        reserved = {SLUG} if is_of_data_set(entry.get("tags") or (), entry["parameters"]) else set()
        return put_schedules(client, found, entry["schedules"], reserved)
    except ValidationError as error:
        raise SettingsError(f"Prefect does not take it: {reason(error)}") from None
    except (DeploymentApplyError, PrefectHTTPStatusError, ValueError, TypeError) as error:
        said = re.search(r"'msg': (['\"])(.*?)\1", str(error))
        raise SettingsError(f"Prefect does not take it: {said[2] if said else str(error)[:300]}") from None


def _limit(given: Any) -> int | ConcurrencyLimitConfig | None:
    if given is None:
        return None
    try:
        limit = ConcurrencyLimitConfig.model_validate(given) if isinstance(given, dict) else given
    except ValidationError as error:
        raise SettingsError(f"Its concurrency_limit is {given!r}: {reason(error)}.") from None
    number = limit.limit if isinstance(limit, ConcurrencyLimitConfig) else limit
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise SettingsError(
            f"Its concurrency_limit is {given!r}. Write a number of runs, 1 or more, or limit: and "
            "collision_strategy: ENQUEUE or CANCEL_NEW."
        )
    return limit


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
        raise MissingBlockError(
            f"There is no block {name!r} of the type {kind}. Make it at {ui_url()}/blocks/catalog/{kind}/create "
            f"under the name {name}, and deploy again."
        ) from None
    return {"$ref": {"block_document_id": str(block.id)}}


def _found(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None
