"""The command's parts that its modules share: the application, and the parameters that several commands have."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_origin

from cyclopts import App, Parameter
from pydantic import BaseModel, Field, create_model

from imagehaul.settings import Settings
from imagehaul.version import software


def _option_type(annotation: Any) -> Any:
    if annotation is bool:
        return bool
    return list[str] if get_origin(annotation) is tuple else str


if TYPE_CHECKING:
    SettingsOptions = BaseModel
else:
    # Every setting as an option, read as text here: the settings themselves say what is wrong with a value.
    SettingsOptions = create_model(
        "SettingsOptions",
        **{
            name: (_option_type(field.annotation) | None, Field(default=None, description=field.description))
            for name, field in Settings.model_fields.items()
        },
    )

SWITCHES = {f"--{name.replace('_', '-')}" for name, field in Settings.model_fields.items() if field.annotation is bool}
Every = Annotated[SettingsOptions | None, Parameter(name="*", group="Settings", show_default=False)]
Dataset = Annotated[str, Parameter(help="Name of the data set, and of its folder under REMOTE_SAVE.")]
Config = Annotated[Path | None, Parameter(help="A file of settings, in place of .vl/config.json.")]
Block = Annotated[
    str, Parameter(help="Name of an object store block in Prefect. It alone then decides URL, keys and CA.")
]
Annotations = Annotated[
    list[str] | None,
    Parameter(help="A file, a folder or an s3:// URI; may be given several times. Not given: beside the images."),
]
SourceName = Annotated[
    str, Parameter(help="Which source of the data set it is. The others stay in the index as they are.")
]
Json = Annotated[bool, Parameter(help="The last line of standard output is one JSON object.", negative="")]

app = App(
    name="imagehaul",
    help="Delivers image data sets into S3, MinIO and other object stores: "
    "every image proven there, or named with a reason.",
    version=software,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)


def print_json(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
