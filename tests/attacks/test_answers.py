"""What the store says about itself is wrong: pages, pointers, clocks. What a run says of each object is true.

The oracle is a plain boto3 client at the real store, which knows nothing of the proxy that makes the faults.
"""

from __future__ import annotations

import re
from collections import Counter

import pytest

from imagehaul.delivery.summary import Summary
from imagehaul.errors import HaulError
from tests.support.attacking import IMAGES, Attack
from tests.support.delivering import draw
from tests.support.fault_proxy import (
    Answer,
    Exchange,
    Fault,
    TwoPages,
    clock_off,
    cut_off,
    says,
    silence,
    without_a_token,
)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("engine", ["s5cmd"])
@pytest.mark.parametrize("what", ["current.json", ".parquet", ".jpg"])
def test_downloads_that_break_off_spoil_nothing(what: str, attack: Attack) -> None:
    """Of the pointer, of the ledger, and of what is read back as a proof: each at its first reading."""
    first = attack.deliver(lambda _: None)
    draw(attack.source / "f0" / "00.jpg", seed=99)
    reads: Counter[str] = Counter()

    def choose(exchange: Exchange) -> Fault | None:
        if exchange.method != "GET" or not exchange.key.endswith(what):
            return None
        reads[exchange.key] += 1
        return cut_off if reads[exchange.key] == 1 else None

    outcome = attack.deliver(choose, proof="read_back")
    assert attack.proxy.hit
    if isinstance(outcome, HaulError):
        assert isinstance(first, Summary)
        assert attack.direct.current()["run"] == first.run
        outcome = attack.deliver(choose, proof="read_back")
    assert isinstance(outcome, Summary), outcome
    assert (outcome.counts.delivered, outcome.counts.unchanged, outcome.exit_status) == (1, IMAGES - 1, 0)
    attack.holds(outcome)


def with_half_of_its_objects(exchange: Exchange) -> None:
    """A page that says that there is more, and not where: boto3 takes it for the last one."""
    said = exchange.forward()
    entries = re.findall(rb"<Contents>.*?</Contents>", said.body)
    body = said.body.replace(b"".join(entries), b"".join(entries[: len(entries) // 2]))
    body = body.replace(b"<IsTruncated>false", b"<IsTruncated>true")
    headers = [item for item in said.headers if item[0].lower() != "content-length"]
    exchange.reply(Answer(said.status, [*headers, ("Content-Length", str(len(body)))], body))


LISTINGS = {
    "breaks off": cut_off,
    "is an error with status 200": says(200, "InternalError"),
    "is silence": silence,
    "is short of half": with_half_of_its_objects,
    "is empty": says(200, ""),
    "breaks off at its second page": TwoPages(cut_off),
    "is refused at its second page": TwoPages(says(403, "AccessDenied")),
    "loses its way at its second page": TwoPages(without_a_token),
}


@pytest.mark.parametrize("engine", ["s5cmd"])
@pytest.mark.parametrize(
    "name",
    [
        "breaks off",
        "is short of half",
        pytest.param("is an error with status 200", marks=pytest.mark.attack),
        pytest.param("is silence", marks=pytest.mark.attack),
        pytest.param("is empty", marks=pytest.mark.attack),
        pytest.param("breaks off at its second page", marks=pytest.mark.attack),
        pytest.param("is refused at its second page", marks=pytest.mark.attack),
        pytest.param("loses its way at its second page", marks=pytest.mark.attack),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_what_a_listing_does_not_show_is_not_delivered(name: str, attack: Attack) -> None:
    """From the moment that the last object was sent."""
    moment: list[bool] = []

    def choose(exchange: Exchange) -> Fault | None:
        moment.extend([True] if exchange.sends else [])
        folder = exchange.query.get("prefix", [""])[0]
        proof = exchange.lists and len(moment) >= 2 * IMAGES and folder.endswith(("images/", "thumbnails/"))
        return LISTINGS[name] if proof else None

    outcome = attack.deliver(choose)
    assert attack.proxy.hit
    assert isinstance(outcome, Summary), outcome
    attack.holds(outcome)
    assert outcome.exit_status == 1
    assert outcome.counts.failed >= IMAGES // 2
    codes = {reason.code for reason in outcome.reasons}
    assert "NOT_PROVEN" not in codes, "Nothing was seen there: no row may say that the store lacks its object."
    attack.is_made_whole_by_a_rerun()


@pytest.mark.parametrize("engine", ["s5cmd"])
@pytest.mark.usefixtures("impatient")
def test_a_run_that_has_switched_the_pointer_does_not_say_that_it_has_not(attack: Attack) -> None:
    """Whatever fails behind it: marks that stay, and a report that is missing, are not the delivery."""
    switched: list[bool] = []

    def choose(exchange: Exchange) -> Fault | None:
        if exchange.key.endswith("/current.json") and exchange.method == "PUT":
            switched.append(True)
            return None
        return says(403, "AccessDenied") if switched else None

    outcome = attack.deliver(choose)
    assert attack.proxy.hit
    assert isinstance(outcome, Summary), outcome
    assert attack.direct.current()["run"] == outcome.run
    assert outcome.published
    assert outcome.current_run == outcome.run
    assert outcome.refused == "", "The terminal would show it as not published."
    assert any("report" in line for line in attack.target.lines.warned)


@pytest.mark.parametrize(("seconds", "engine"), [(600, "s5cmd"), (-600, "boto3")])
def test_a_clock_that_is_ten_minutes_off(seconds: float, attack: Attack) -> None:
    def choose(_: Exchange) -> Fault:
        return clock_off(seconds)

    outcome = attack.deliver(choose)
    attack.holds(outcome)
    assert isinstance(outcome, Summary), outcome
    assert (outcome.counts.delivered, outcome.exit_status) == (IMAGES, 0)
    again = attack.deliver(choose)
    assert isinstance(again, Summary)
    assert again.nothing_changed
    draw(attack.source / "f0" / "00.jpg", seed=99)
    third = attack.deliver(choose)
    assert isinstance(third, Summary)
    assert (third.counts.delivered, third.published) == (1, True)
    assert attack.direct.current()["run"] == third.run > outcome.run
