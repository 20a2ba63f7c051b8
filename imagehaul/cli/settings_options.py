"""Every setting as an option, read as text here: the settings themselves say what is wrong with a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypedDict, get_origin

from cyclopts import Parameter

from imagehaul.settings import Settings


def _option(annotation: Any, description: str | None) -> Any:
    if annotation is bool:
        kind: Any = bool
    else:
        kind = list[str] if get_origin(annotation) is tuple else str
    return Annotated[kind, Parameter(help=description)]


if TYPE_CHECKING:
    SettingsOptions = dict[str, Any]
else:
    # Those that were given, and no others.
    SettingsOptions = TypedDict(
        "SettingsOptions",
        {name: _option(field.annotation, field.description) for name, field in Settings.model_fields.items()},
        total=False,
    )

SWITCHES = {f"--{name.replace('_', '-')}" for name, field in Settings.model_fields.items() if field.annotation is bool}
Every = Annotated[SettingsOptions | None, Parameter(name="*", group="Settings", show_default=False)]
