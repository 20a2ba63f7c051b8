"""Where settings come from, weakest first: defaults, a file, environment variables, command-line options.

They are resolved once, at the command line or when a deployment is made.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from imagehaul.errors import SettingsError
from imagehaul.settings import Settings, accepted

FILES = (".vl/config.json", "config.json")
"""Where the file is looked for in the working folder; the first that is there counts."""

ALIKE = 0.9
"""How alike (0 to 1) an unknown key must be to a flag to be taken for a misspelling of it."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value as somebody wrote it, and where; "" where that goes without saying."""

    value: object
    origin: str


def resolve_settings(
    options: Mapping[str, object], config: Path | None, environ: Mapping[str, str], folder: Path, place: str = ""
) -> tuple[Settings, list[str]]:
    """The settings of one delivery, and warnings for the user.

    `options` holds what the command line gave, by field name, and nothing else. `config` is the file that
    was asked for, `folder` the working folder. `place`: where the options stand, such as "in prefect.yaml";
    "" for the command line. Raises `SettingsError` with one line for each bad value.
    """
    if config == Path():
        raise SettingsError("--config names no file. Name one, or leave the option out.")
    file = config or next((folder / name for name in FILES if _is_there(folder / name)), None)
    given, warnings = _read(file) if file else ({}, [])
    for name in Settings.model_fields:
        if environ.get(name.upper(), "").strip():
            given[name] = Given(environ[name.upper()], "from the environment")
    given |= {name: Given(value, place or f"option {_option(name)}") for name, value in options.items()}

    def mend(name: str) -> str:
        return f"set it in {FILES[0]}, in the environment, or {place or f'with {_option(name)}'}"

    return _checked(given, mend), [*warnings, *_globs_with_commas(given)]


def settings_of_form(values: Mapping[str, object]) -> Settings:
    """The settings of a flow run, from these values alone: no file and no environment has a say.

    Raises `SettingsError` with one line for each bad value.
    """
    given = {name: Given(value, "") for name, value in values.items()}
    return _checked(given, lambda _: "set it in the form, or in the deployment")


def _checked(given: Mapping[str, Given], mend: Callable[[str], str]) -> Settings:
    """`mend`: where a required setting that is missing can be set."""
    try:
        return Settings.model_validate({name: item.value for name, item in given.items()})
    except ValidationError as error:
        raise SettingsError("\n".join(dict.fromkeys(_problems(error, given, mend)))) from None


class _Object(dict[str, Any]):
    """An object of JSON that knows its members as they are written, duplicates too."""

    def __init__(self, members: list[tuple[str, Any]]) -> None:
        super().__init__(members)
        self.members = members


def _is_there(file: Path) -> bool:
    """What cannot be looked at counts as there, so that reading it says why."""
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _read(file: Path) -> tuple[dict[str, Given], list[str]]:
    """What the file sets, by field name. Other programs share it: keys that are not ours are warned about."""
    given: dict[str, Given] = {}
    unknown: list[str] = []
    for key, value in _pairs(file):
        name = key.lower()
        if name not in Settings.model_fields or key not in (name, name.upper()):
            unknown.append(key)
        elif name in given and given[name].value != value:
            raise SettingsError(
                f"{file} gives {name.upper()} twice, {shown(given[name].value)} and {shown(value)}: keep one."
            )
        elif value is not None:
            given[name] = Given(value, f"in {file}")
    return given, list(_warnings(file, unknown))


def _pairs(file: Path) -> list[tuple[str, Any]]:
    """The members of the file's one JSON object, duplicates too."""
    try:
        # A byte order mark, as Notepad writes one, is no fault.
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError(f"The settings in {file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file} is not UTF-8 (byte {error.start + 1}). Save it as UTF-8.") from None
    try:
        if text.lstrip()[:1] != "{":
            json.loads(text)
            raise SettingsError(f"{file} must hold one JSON object, such as {_SAMPLE}.")
        pairs: list[tuple[str, Any]] = json.loads(text, object_pairs_hook=_Object).members
    except json.JSONDecodeError as error:
        curly = text[error.pos : error.pos + 1] in ("\u201c", "\u201d", "\u201e", "\u2018", "\u2019")
        mend = 'Use straight quotes, "like these".' if curly else "Correct it there."
        raise SettingsError(
            f"{file} is not valid JSON: {error.msg}, line {error.lineno}, column {error.colno}. {mend}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{file} is not valid JSON that can be read: {error}.") from None
    return pairs


def _warnings(file: Path, unknown: list[str]) -> Iterator[str]:
    others = []
    for key in dict.fromkeys(unknown):
        meant = difflib.get_close_matches(key.lower().replace("-", "_"), Settings.model_fields, 1, ALIKE)
        if meant:
            yield f"{file}: {shown(key)} is no setting and was ignored. Did you mean {meant[0].upper()}?"
        else:
            others.append(shown(key))
    if others:
        yield f"{file}: not imagehaul's, ignored: {', '.join(others)}."


def _globs_with_commas(given: Mapping[str, Given]) -> Iterator[str]:
    """An item of a list is one glob, as one with a comma must be written; perhaps two were meant."""
    for name in ("include", "exclude"):
        item = given.get(name, Given(None, ""))
        # Options were parted already: what has a comma there was meant so.
        if not isinstance(item.value, list) or item.origin.startswith("option "):
            continue
        for glob in item.value:
            if isinstance(glob, str) and "," in glob:
                yield (
                    f"{name.upper()}{_origin(item)} holds {shown(glob)}, which is one glob with a comma in it. "
                    "Where several are meant, make each an item of its own."
                )


def _problems(error: ValidationError, given: Mapping[str, Given], mend: Callable[[str], str]) -> Iterator[str]:
    for detail in error.errors(include_url=False):
        name = str(detail["loc"][0]) if detail["loc"] else ""
        own_words = str(detail["ctx"]["error"]) if detail["type"] == "value_error" else ""
        if not name:
            yield from (_with_origins(line, given) for line in own_words.splitlines())
        elif name not in Settings.model_fields:
            yield f"{shown(name)}{_origin(given[name])} is no setting."
        elif name not in given:
            yield f"{name.upper()} is required: {mend(name)}."
        else:
            problem = own_words or f"takes {accepted(name)}"
            yield f"{name.upper()}={shown(given[name].value)}{_origin(given[name])}: {_hidden(problem)}."


def _with_origins(sentence: str, given: Mapping[str, Given]) -> str:
    names = [name for name in given if given[name].origin and re.search(rf"\b{name.upper()}=", sentence)]
    origins = "; ".join(f"{name.upper()} {given[name].origin}" for name in names)
    return f"{sentence} ({origins})" if origins else sentence


def _origin(given: Given) -> str:
    return f" ({given.origin})" if given.origin else ""


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def shown(value: object) -> str:
    """As JSON would write it, on one short line, without what may be a password."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = text.encode("utf-8", "backslashreplace").decode()
    return _hidden(text if len(text) <= 200 else f"{text[:200]}…")


def _hidden(text: str) -> str:
    return re.sub(r"[^\s\"]*@", "***@", text)


_SAMPLE = '{"REMOTE_SAVE": "s3://bucket/prefix/"}'
