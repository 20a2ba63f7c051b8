"""`prefect.yaml` as it is read here: deployments, and one more for each scheduled data set."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from imagehaul.errors import SettingsError
from imagehaul.flows.catalog_file import read_catalog
from imagehaul.layout import MAIN_SOURCE

KINDS = ("cron", "interval", "rrule")
"""Of a schedule, as Prefect names them."""
TEXTS = ("like", "timezone", "rerun", "when_locked", "source_type", "column", "source_store", "repair_from")
"""Columns of a catalog of scheduled data sets, beside those of every catalog: what the flows take."""
SWITCHES = ("active", "allow_loss", "approve", "content", "dry_run")
SLUG = "scheduled"
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read_deployments(file: Path) -> dict[str, dict[str, Any]]:
    """The entries by their full names, "deliver/minio". Raises `SettingsError`."""
    try:
        content = YAML(typ="safe", pure=True).load(file.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(
            f"The deployments in {file} cannot be read: {error.strerror}. Run this in the folder of "
            "prefect.yaml, or name the file with --file."
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid YAML: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("deployments"), list):
        raise SettingsError(f"{file} has no list of deployments.")
    entries: dict[str, dict[str, Any]] = {}
    for entry in content["deployments"]:
        if not isinstance(entry, dict):
            raise SettingsError(f"{file}: {entry!r} stands among the deployments, and is no name with a value.")
        if missing := [key for key in ("name", "entrypoint", "work_pool") if key not in entry]:
            raise SettingsError(f"A deployment in {file} has no {missing[0]}.")
        for key in ("name", "entrypoint"):
            if not isinstance(entry[key], str):
                raise SettingsError(f"{file}: the {key} {entry[key]!r} of a deployment is no text in YAML. Quote it.")
        entries[full_name(entry)] = entry
    for row in _rows(content.get("data_sets") or [], file):
        made = _for_data_set(row, entries, file)
        if (name := full_name(made)) in entries:
            raise SettingsError(f"{file}: {name} stands there twice. A data set must not have a deployment's name.")
        entries[name] = made
    return entries


def is_of_data_set(tags: Collection[str], parameters: Mapping[str, Any]) -> bool:
    """Whether it is a deployment that `data_sets` made."""
    return f"dataset:{parameters.get('dataset')}" in tags


def full_name(entry: dict[str, Any]) -> str:
    """By the entrypoint's last part, which is the flow's name: "imagehaul.flows.deliver.deliver" or "…py:deliver"."""
    flow = re.split(r"[.:]", entry["entrypoint"])[-1].replace("_", "-")
    return f"{flow}/{entry['name']}"


def _rows(given: Any, file: Path) -> list[dict[str, Any]]:
    """A list, or the name of a catalog, a CSV file beside this one."""
    place = file
    if isinstance(given, str):
        place = file.parent / given
        given = [_with_switches(row, place) for row in read_catalog(place, more=(*TEXTS, *SWITCHES, *KINDS))]
    if not isinstance(given, list) or not all(isinstance(row, dict) and row.get("dataset") for row in given):
        raise SettingsError(f"{place}: each of data_sets needs a dataset.")
    if number := next((row["dataset"] for row in given if not isinstance(row["dataset"], str)), None):
        raise SettingsError(f"{place}: the dataset {number} is no text in YAML. Write it in quotes.")
    return [dict(row) for row in given]


def _with_switches(row: dict[str, Any], catalog: Path) -> dict[str, Any]:
    """A cell is text, and a flow takes no text where it asks yes or no."""
    switches = {}
    for name in row.keys() & set(SWITCHES):
        word = row[name].strip().lower()
        if word not in _WORDS:
            raise SettingsError(
                f"The catalog {catalog}: {name} of {row.get('dataset', 'a data set')} is {row[name]!r}. Write true or "
                "false."
            )
        switches[name] = _WORDS[word]
    return row | switches


def _for_data_set(row: dict[str, Any], entries: dict[str, dict[str, Any]], file: Path) -> dict[str, Any]:
    """The deployment that `like` names, for this data set alone: its own parameters say all, its schedule nothing."""
    dataset, like = row.pop("dataset"), row.pop("like", "") or "deliver/minio"
    if like not in entries:
        raise SettingsError(
            f"{file}: {dataset} is to be like {like!r}, and there is none. Name one of the deployments."
        )
    pattern = entries[like]
    if not row.get("source"):
        if "source" in (pattern.get("parameters") or {}):
            raise SettingsError(f"{file}: {dataset} names no source, and would deliver that of {like}.")
        if like.startswith("deliver/"):
            raise SettingsError(f"{file}: {dataset} names no source, and there would be nothing to deliver.")
    schedule = {"slug": SLUG, "active": row.pop("active", False), "timezone": row.pop("timezone", "") or "UTC"}
    schedule |= {kind: value for kind in KINDS if (value := row.pop(kind, None)) not in (None, "")}
    settings = (pattern.get("parameters") or {}).get("settings", {}) | (row.pop("settings", None) or {})
    parameters = {**(pattern.get("parameters") or {}), **row, "dataset": dataset}
    source = row.get("source_name") or MAIN_SOURCE
    return {
        **pattern,
        "name": dataset if source == MAIN_SOURCE else f"{dataset}-{source}",
        "description": f"Of the data set {dataset}: as {like}, by a schedule.",
        "tags": [*pattern.get("tags", ()), f"dataset:{dataset}"],
        "parameters": {**parameters, "settings": settings} if settings else parameters,
        "schedules": [schedule] if schedule.keys() & set(KINDS) else [],
    }
