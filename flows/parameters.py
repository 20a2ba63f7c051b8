"""What the form of a flow run asks for, beyond plain text and switches.

The server checks each value against these schemas before a run begins, and stores what it was given in clear: so a
store is only ever a reference to its block, and an endpoint is no setting here.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from imagehaul.blocks.object_store import ObjectStore
from imagehaul.layout import DATASET_NAME
from imagehaul.settings import Settings
from imagehaul.settings_loading import resolve_settings

DatasetName = Annotated[str, Field(pattern=f"^{DATASET_NAME.pattern}$")]
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


def _settings_schema() -> dict[str, Any]:
    """All settings but the endpoint, which the block decides."""
    schema = copy.deepcopy(Settings.model_json_schema())
    del schema["properties"]["object_store_url"]
    return schema


# Plain values, so that it is our own words that tell what is wrong with them, as on the command line.
SettingsForm = Annotated[dict[str, Any], WithJsonSchema(_settings_schema())]


def settings_of_form(values: Mapping[str, Any]) -> Settings:
    """Raises `SettingsError` with one line for each bad value. No file and no environment has a say."""
    settings, _ = resolve_settings(values, None, {}, Path(os.devnull))
    return settings


def form_of(settings: Settings) -> dict[str, Any]:
    """The same values as a deployment or a run keeps them."""
    return settings.model_dump(mode="json", exclude={"object_store_url"})
