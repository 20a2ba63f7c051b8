"""Every setting as an option, read as text here: the settings themselves say what is wrong with a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypedDict, get_origin

from cyclopts import Parameter
from pydantic.fields import FieldInfo

from imagehaul.settings import Settings, accepted


def _option(name: str, field: FieldInfo) -> Any:
    if field.annotation is bool:
        return Annotated[bool, Parameter(help=field.description, show_default="true" if field.default else "false")]
    if get_origin(field.annotation) is tuple:
        return Annotated[list[str], Parameter(help=f"{field.description} Takes {accepted(name)}.", show_default=False)]
    default = False if field.is_required() or field.default == "" else str(field.default)
    return Annotated[str, Parameter(help=field.description, show_default=default)]


if TYPE_CHECKING:
    SettingsOptions = dict[str, Any]
else:
    # Those that were given, and no others.
    SettingsOptions = TypedDict(
        "SettingsOptions",
        {name: _option(name, field) for name, field in Settings.model_fields.items()},
        total=False,
    )

SWITCHES = {f"--{name.replace('_', '-')}" for name, field in Settings.model_fields.items() if field.annotation is bool}
Every = Annotated[SettingsOptions | None, Parameter(name="*", group="Settings")]
