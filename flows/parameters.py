"""What the form of a flow run asks for, beyond plain text and switches.

The server checks each value against these schemas before a run begins, and stores what it was given in clear: so a
store is only ever a reference to its block, and an endpoint is no setting here.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from prefect import runtime
from prefect.client.orchestration import get_client
from pydantic import Field, WithJsonSchema

from imagehaul.blocks.object_store import ObjectStore
from imagehaul.errors import SettingsError
from imagehaul.layout import DATASET_NAME
from imagehaul.settings import Settings
from imagehaul.settings_loading import settings_of_form, shown

DatasetName = Annotated[str, Field(pattern=f"^{DATASET_NAME.pattern}$")]
SourceName = Annotated[str, Field(pattern=f"^{DATASET_NAME.pattern}$")]
Source = Annotated[str, Field(min_length=1)]

# Of a block whose fields all have defaults, Prefect's own schema takes a whole document, keys and all in clear,
# and refuses a reference, since that would be a document too.
StoreBlock = Annotated[
    ObjectStore,
    WithJsonSchema(
        {
            "title": "imagehaul object store",
            "type": "object",
            "block_type_slug": ObjectStore._block_type_slug,
            "properties": {"$ref": {"type": ["object", "string"]}},
            "required": ["$ref"],
            "additionalProperties": False,
        }
    ),
]

SHOWN = (
    "remote_save",
    "cdn_fullpath",
    "serve_original_image",
    "save_thumbnails_method",
    "thumbnail_size",
    "thumbnail_format",
    "include",
    "exclude",
    "max_rejected",
    "max_vanished",
)
"""Settings that a delivery's form has a field for: what people change from data set to data set."""


def _settings_schema(shown: Sequence[str]) -> dict[str, Any]:
    """All settings but the endpoint, which the block decides; the form draws those that are `shown`.

    The others are checked by the server all the same, and both UIs keep and send them: the menu of `settings` has "Use
    JSON input", which shows them all. Forty fields in one column are no form.
    """
    schema = copy.deepcopy(Settings.model_json_schema())
    fields = schema["properties"]
    del fields["object_store_url"]
    schema["properties"] = {name: fields[name] for name in shown}
    # Also by the name of the flag. A pattern is checked, and not drawn.
    schema["patternProperties"] = {f"^({name}|{name.upper()})$": field for name, field in fields.items()}
    # What is left out is as the deployment has it, also where a call gives one setting alone.
    del schema["required"]
    return schema


# Plain values, so that it is our own words that tell what is wrong with them, as on the command line.
SettingsForm = Annotated[dict[str, Any], WithJsonSchema(_settings_schema(SHOWN))]
WhereForm = Annotated[dict[str, Any], WithJsonSchema(_settings_schema(["remote_save"]))]
"""For a flow that looks at what was delivered, and is asked nothing about how."""


def settings_of_run(given: Mapping[str, Any]) -> Settings:
    """What a caller leaves out is what the run's deployment has; without a deployment, the default.

    Prefect itself merges nothing: a call with `settings` replaces all that the deployment has there.
    Raises `SettingsError`.
    """
    if not (deployment := runtime.deployment.id):
        return settings_of_form(merged(None, given))
    with get_client(sync_client=True) as client:
        return settings_of_form(merged(client.read_deployment(deployment).parameters.get("settings"), given))


def merged(deployed: Mapping[str, Any] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The rule for every caller: a run's parameters, a schedule, a row of a catalog.

    Raises `SettingsError` where one of the two has a setting twice, in upper and in lower case, with two values.
    """
    return {**_by_field(deployed or {}), **_by_field(given)}


def _by_field(given: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, str] = {}
    for name, value in given.items():
        other = found.setdefault(name.lower(), name)
        if given[other] != value:
            raise SettingsError(
                f"The settings have {other}={shown(given[other])} and {name}={shown(value)}, which are one: keep one "
                "of them."
            )
    return {field: given[name] for field, name in found.items()}


def form_of(settings: Settings) -> dict[str, Any]:
    """The same values as a deployment or a run keeps them."""
    return settings.model_dump(mode="json", exclude={"object_store_url"})
