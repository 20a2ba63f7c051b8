"""The schedules of a deployment: those of the file become what it says, and those that people added stay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.schedules import Cron, Interval, RRule, Schedule
from pydantic import ValidationError

from imagehaul.errors import SettingsError
from imagehaul.flows.deployment_file import KINDS

_MAKERS: dict[str, Callable[..., Schedule]] = {"cron": Cron, "interval": Interval, "rrule": RRule}
_FORMS = {
    "cron": "text, such as '0 2 * * *'",
    "interval": "a number of seconds, more than 0",
    "rrule": "text of iCalendar",
}
_MORE = {"cron": ("day_or",), "interval": ("anchor_date",), "rrule": ()}
"""Beside `slug`, `active` and `timezone`, which each kind takes."""


def read_schedules(given: Any, where: str, before: Sequence[DeploymentSchedule] = ()) -> list[DeploymentScheduleCreate]:
    """Those of an entry. `where`: which deployment of which file. `before`: what lies on the server.

    On or off, and counted from when, a schedule is as it was `before`. Raises `SettingsError`.
    """
    if not isinstance(given, list):
        raise SettingsError(f"The schedules of {where} are no list: begin each with a dash.")
    found: dict[str | None, DeploymentSchedule] = {schedule.slug: schedule for schedule in before if schedule.slug}
    made: dict[str, DeploymentScheduleCreate] = {}
    for one in given:
        schedule = _schedule(one, where)
        if schedule.slug in made:
            raise SettingsError(
                f"{where} has two schedules with the slug {schedule.slug!r}, by which one is found again: rename one."
            )
        made[str(schedule.slug)] = schedule
        if there := found.get(schedule.slug):
            schedule.active = there.active
            if "anchor_date" not in one:
                _keep_anchor(schedule, there)
    return list(made.values())


def put_schedules(
    client: SyncPrefectClient,
    deployment: DeploymentResponse,
    wanted: Iterable[DeploymentScheduleCreate],
    reserved: Set[str],
) -> list[str]:
    """One by one, so that those which somebody added are not touched. Returns these, in words.

    `reserved`: slugs that nobody but the file gives: such a schedule goes where the file has it no more.
    """
    found: dict[str | None, DeploymentSchedule] = {there.slug: there for there in deployment.schedules if there.slug}
    slugs = {schedule.slug for schedule in wanted}
    for schedule in wanted:
        if there := found.get(schedule.slug):
            client.update_deployment_schedule(deployment.id, there.id, schedule=schedule.schedule, parameters={})
        else:
            client.create_deployment_schedules(deployment.id, [schedule])
    kept = []
    for there in deployment.schedules:
        if there.slug in reserved - slugs:
            client.delete_deployment_schedule(deployment.id, there.id)
        elif there.slug not in slugs:
            kept.append(there.slug or f"one without a slug ({_times(there)})")
    return kept


def reason(error: ValidationError) -> str:
    """The first thing that pydantic has against a value, without its preamble and its link."""
    first = error.errors()[0]
    return f"{first['loc'][0]}: {first['msg']}" if first["loc"] else first["msg"].removeprefix("Value error, ")


def _schedule(given: Any, where: str) -> DeploymentScheduleCreate:
    kinds = [kind for kind in KINDS if isinstance(given, dict) and given.get(kind) is not None]
    if not kinds or not isinstance(given.get("slug"), str) or not given["slug"]:
        raise SettingsError(
            f"A schedule needs a slug, by which it is found again, and cron, interval or rrule: {given}."
        )
    if len(kinds) > 1:
        raise SettingsError(f"A schedule of {where} has {' and '.join(kinds)}: keep one of them.")
    kind = kinds[0]
    if given.get("parameters"):
        raise SettingsError(
            f"A schedule of {where} has parameters of its own. Prefect empties them when the schedule is switched on: "
            "give the data set a deployment of its own, under data_sets."
        )
    options = {key: value for key, value in given.items() if key not in (*KINDS, "parameters")}
    takes = ("slug", "active", "timezone", *_MORE[kind])
    if unknown := [str(key) for key in options if key not in takes]:
        raise SettingsError(
            f"The schedule {given['slug']!r} of {where} has {', '.join(unknown)}, which is not known: leave it out. "
            f"With {kind} it takes {', '.join(takes)}."
        )
    return _made(kind, _value(kind, given[kind]), options, where)


def _value(kind: str, given: Any) -> Any:
    """A cell of a CSV file is text, and a number in quotes is one in YAML: text of a number is a number."""
    value = given
    if kind == "interval" and isinstance(given, str):
        try:
            value = float(given)
        except ValueError:
            return given  # Such as PT1H, which Prefect reads.
    is_right = isinstance(value, int | float) and value > 0 if kind == "interval" else isinstance(value, str)
    if not is_right or isinstance(value, bool):
        raise SettingsError(f"The schedule's {kind} is {given!r}. Write it as {_FORMS[kind]}.")
    return value


def _made(kind: str, value: Any, options: dict[str, Any], where: str) -> DeploymentScheduleCreate:
    try:
        return DeploymentScheduleCreate.from_schedule(_MAKERS[kind](value, **options))
    except ValidationError as error:
        if error.errors()[0]["loc"] == (kind,):
            raise SettingsError(f"The schedule's {kind} is {value!r}. Write it as {_FORMS[kind]}.") from None
        said = reason(error)
    except (ValueError, TypeError, OverflowError) as error:
        said = str(error)
    raise SettingsError(f"Prefect does not take the schedule {options['slug']!r} of {where}: {said.rstrip('.')}.")


def _keep_anchor(schedule: DeploymentScheduleCreate, before: DeploymentSchedule) -> None:
    """Counted from each deploy anew, an interval would never end for somebody who deploys more often."""
    new, old = schedule.schedule, before.schedule
    if isinstance(new, IntervalSchedule) and isinstance(old, IntervalSchedule) and new.interval == old.interval:
        new.anchor_date = old.anchor_date


def _times(schedule: DeploymentSchedule) -> str:
    times = schedule.schedule.model_dump(mode="json")
    return next((f"{kind} {times[kind]}" for kind in KINDS if times.get(kind)), "")
