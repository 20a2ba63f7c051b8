"""Schedules as `prefect.yaml` and a catalog write them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from prefect.client.schemas.schedules import IntervalSchedule

from imagehaul.errors import SettingsError
from imagehaul.flows.deployment_schedules import read_schedules


@pytest.mark.parametrize(
    ("schedules", "words"),
    [
        ([{"slug": "a", "cron": "0 2 * * *"}, {"slug": "a", "interval": 60}], "two schedules with the slug 'a'"),
        ([{"slug": "a", "cron": "0 2 * * *", "interval": 60}], "has cron and interval: keep one of them"),
        ([{"slug": "a", "interval": 0}], "interval is 0. Write it as a number of seconds, more than 0."),
        ([{"slug": "a", "interval": "often"}], "interval is 'often'. Write it as a number of seconds"),
        ([{"slug": "a", "interval": 1e300}], "does not take the schedule 'a' of deliver/own in"),
        ([{"slug": "a", "interval": True}], "interval is True. Write it as"),
        ([{"slug": "a", "cron": "0 2"}], """does not take the schedule 'a' of .*: Invalid cron string: "0 2"."""),
        ([{"slug": "a", "cron": "0 2 * * *", "timezone": "Mars"}], 'timezone: .*Invalid timezone: "Mars"'),
        ([{"slug": "a", "cron": "0 2 * * *", "tz": "UTC"}], "has tz, which is not known: leave it out. With cron it"),
        ([{"slug": "a", "cron": [1, 2]}], r"cron is \[1, 2\]. Write it as text, such as '0 2 \* \* \*'."),
        ([{"cron": "0 2 * * *"}], "needs a slug"),
        (["0 2 * * *"], "needs a slug"),
        ({"cron": "0 2 * * *"}, "are no list"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_in_words(schedules: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        read_schedules(schedules, "deliver/own in prefect.yaml")


@pytest.mark.parametrize("interval", [90, 90.0, "90", " 90 ", "PT1M30S"])
def test_an_interval_may_be_text(interval: Any) -> None:
    [found] = read_schedules([{"slug": "a", "interval": interval}], "deliver/own in prefect.yaml")
    assert isinstance(found.schedule, IntervalSchedule)
    assert found.schedule.interval == timedelta(seconds=90)
