"""The store and the network misbehave: the run ends by itself, and what it says of each object is true.

The oracle is a plain boto3 client at the real store, which knows nothing of the proxy that makes the faults.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from imagehaul.delivery.summary import Summary
from imagehaul.local.embedded_store import EmbeddedStore
from imagehaul.store.credentials import AccessKey, ProfileKeys
from imagehaul.store.endpoint import Store
from tests.support.attacking import ENGINES, IMAGES, Attack, Choose, sent
from tests.support.delivering import Target
from tests.support.fault_proxy import (
    Exchange,
    Fault,
    FaultProxy,
    drip,
    reply_lost,
    reset_after,
    reset_before,
    reset_within,
    says,
    silence,
)
from tests.support.sending import plain_client


@ENGINES
def test_keys_that_run_out_in_the_middle_are_read_anew_for_all_that_is_left(
    engine: str, store: Store, bucket: str, source: Path, tmp_path: Path, identities: dict[str, AccessKey]
) -> None:
    """Not for sending alone: journal, lease, proof and publication need them too."""
    file = tmp_path / "aws_credentials"

    def write(keys: AccessKey) -> None:
        file.write_text(f"[default]\naws_access_key_id={keys.access_key}\naws_secret_access_key={keys.secret_key}\n")

    first, second = identities["all"], identities["next"]
    write(first)
    refused: list[str] = []
    replaced = threading.Event()

    def choose(exchange: Exchange) -> Fault | None:
        if exchange.sends and not replaced.is_set():
            write(second)
            replaced.set()
        if not replaced.is_set() or exchange.access_key != first.access_key:
            return None
        refused.append(exchange.method)
        return says(400, "ExpiredToken")

    with FaultProxy(store) as proxy:
        renewable = replace(proxy.store, credentials=ProfileKeys("default", str(file)))
        attack = Attack(proxy, Target(renewable, bucket), Target(store, bucket), source, engine)
        outcome = attack.deliver(choose)
        attack.holds(outcome)
        assert isinstance(outcome, Summary), outcome
        assert (outcome.counts.delivered, outcome.exit_status) == (IMAGES, 0), (outcome, attack.target.lines)
        assert refused


def each_object_once(fault: Fault, every: int = 3) -> Choose:
    """The first attempt at each `every`th object that is sent."""
    seen: Counter[str] = Counter()

    def choose(exchange: Exchange) -> Fault | None:
        if not exchange.sends:
            return None
        seen[exchange.key] += 1
        return fault if seen[exchange.key] == 1 and len(seen) % every == 0 else None

    return choose


def any_request(fault: Fault, every: int) -> Choose:
    return lambda exchange: fault if exchange.number % every == 0 else None


PASSING: dict[str, tuple[Fault, int]] = {
    "reset before the body": (reset_before, 3),
    "reset in the middle of the body": (reset_within, 3),
    "reset after the body": (reset_after, 3),
    "the reply lost after the object was stored": (reply_lost, 3),
    "BadDigest": (says(400, "BadDigest"), 3),
    "429": (says(429, "TooManyRequests"), 5),
    "RequestTimeout": (says(400, "RequestTimeout"), 5),
    "500": (says(500, "InternalError"), 5),
    "503": (says(503, "SlowDown"), 5),
    "a request that is never answered": (silence, 20),
}
"""Faults that a second attempt gets past, and how many objects meet one at their first: each so many'th."""


@ENGINES
@pytest.mark.usefixtures("impatient")
def test_a_day_on_which_the_first_attempt_at_every_object_fails(attack: Attack) -> None:
    faults = [fault for fault, _ in PASSING.values() if fault is not silence]
    seen: Counter[str] = Counter()

    def choose(exchange: Exchange) -> Fault | None:
        seen[exchange.key] += exchange.sends
        return faults[len(seen) % len(faults)] if seen[exchange.key] == 1 else None

    outcome = attack.deliver(choose)
    assert attack.proxy.hit == 2 * IMAGES
    attack.holds(outcome)
    assert isinstance(outcome, Summary), outcome
    assert (outcome.counts.delivered, outcome.exit_status) == (IMAGES, 0)


@pytest.mark.attack
@ENGINES
@pytest.mark.parametrize("name", PASSING)
@pytest.mark.usefixtures("impatient")
def test_what_passes_by_costs_nothing_but_time(name: str, attack: Attack) -> None:
    fault, every = PASSING[name]
    outcome = attack.deliver(each_object_once(fault, every))
    assert attack.proxy.hit
    attack.holds(outcome)
    assert isinstance(outcome, Summary), outcome
    assert (outcome.counts.delivered, outcome.exit_status) == (IMAGES, 0)
    attack.is_made_whole_by_a_rerun()


@dataclass(frozen=True)
class Lasting:
    """A fault that stays: from which request on, which of them, what code the rows get, whether it stops the run."""

    fault: Fault
    codes: set[str]
    after: int = 10
    stops: bool = False


LASTING = {
    "every connection is reset": Lasting(reset_within, {"STORE_UNAVAILABLE"}, after=0),
    "503 for ever": Lasting(says(503, "SlowDown"), {"STORE_BUSY"}, after=0),
    "503 from the eleventh on": Lasting(says(503, "SlowDown"), {"STORE_BUSY"}),
    "no answer, for ever": Lasting(silence, {"STORE_UNAVAILABLE"}, after=0),
    "no answer from the eleventh on": Lasting(silence, {"STORE_UNAVAILABLE"}),
    "a byte a second": Lasting(drip, {"STORE_UNAVAILABLE"}),
    "AccessDenied": Lasting(says(403, "AccessDenied"), {"ACCESS_DENIED"}),
    "the key is withdrawn": Lasting(says(403, "InvalidAccessKeyId"), {"ACCESS_DENIED"}, stops=True),
    "the token expires": Lasting(says(400, "ExpiredToken"), {"CREDENTIALS_EXPIRED"}, stops=True),
    "the bucket vanishes": Lasting(says(404, "NoSuchBucket"), {"BUCKET_MISSING"}, stops=True),
    "the clock is too far off": Lasting(says(403, "RequestTimeTooSkewed"), {"CLOCK_SKEWED"}, after=0, stops=True),
    "no room": Lasting(says(507, "XMinioStorageFull"), {"STORE_FULL"}, stops=True),
    "each object is refused": Lasting(says(400, "InvalidRequest"), {"STORE_REFUSED"}, after=0),
    # boto3 takes it for the error that it is, and s5cmd for a success, which the proof denies.
    "200 with an error inside": Lasting(says(200, "InternalError"), {"STORE_BUSY", "NOT_PROVEN"}),
}


def lasts(name: str, attack: Attack) -> None:
    lasting = LASTING[name]
    began = time.monotonic()
    outcome = attack.deliver(sent(lasting.fault, after=lasting.after))
    assert time.monotonic() - began < 90
    assert attack.proxy.hit
    attack.holds(outcome)
    assert isinstance(outcome, Summary), outcome
    assert outcome.exit_status == 1
    assert lasting.codes & {reason.code for reason in outcome.reasons}, outcome.reasons
    assert "current.json" not in attack.direct.listed()
    if lasting.stops:
        assert attack.target.lines.warned, "The reason is said as soon as it is known."


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("the key is withdrawn", "s5cmd"),
        ("the key is withdrawn", "boto3"),
        ("no answer from the eleventh on", "s5cmd"),
        ("200 with an error inside", "s5cmd"),
        ("200 with an error inside", "boto3"),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_what_lasts_is_named_and_nothing_is_published(name: str, attack: Attack) -> None:
    lasts(name, attack)


@pytest.mark.attack
@ENGINES
@pytest.mark.parametrize("name", LASTING)
@pytest.mark.usefixtures("impatient")
def test_what_lasted_is_made_good_by_a_rerun(name: str, attack: Attack) -> None:
    lasts(name, attack)
    attack.is_made_whole_by_a_rerun()


@ENGINES
@pytest.mark.usefixtures("impatient")
def test_one_request_of_any_kind_in_five_fails(attack: Attack) -> None:
    """The lock, the listings, the journal, the ledger and the pointer too."""
    outcome = attack.deliver(any_request(says(503, "SlowDown"), every=5))
    attack.holds(outcome)
    assert isinstance(outcome, Summary), outcome
    assert outcome.exit_status == 0, (outcome, attack.target.lines)


def policy(bucket: str, denied: str) -> str:
    """Nobody may write what matches."""
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:PutObject"],
        "Resource": f"arn:aws:s3:::{bucket}/{denied}",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [deny]})


@ENGINES
def test_a_policy_that_denies_one_prefix_costs_the_rest_nothing(attack: Attack) -> None:
    """The sender's word on what was denied, and a plain client's on what lies there."""
    direct = attack.direct
    client = plain_client(direct.store)
    client.put_bucket_policy(Bucket=direct.bucket, Policy=policy(direct.bucket, f"{direct.root}images/f1/*"))
    outcome = attack.deliver(lambda _: None)
    attack.holds(outcome)
    assert isinstance(outcome, Summary), outcome
    denied = {f"images/{file.relative_to(attack.source)}" for file in (attack.source / "f1").iterdir()}
    assert (outcome.counts.delivered, outcome.counts.failed) == (IMAGES - len(denied), len(denied))
    assert (outcome.exit_status, outcome.published) == (1, False)
    assert [(reason.code, reason.images) for reason in outcome.reasons] == [("ACCESS_DENIED", len(denied))]
    there = {key for key in direct.listed() if key.startswith(("images/", "thumbnails/"))}
    assert (
        there
        == {
            *(f"images/{file.relative_to(attack.source)}" for file in attack.source.rglob("*.jpg")),
            *(f"thumbnails/{file.relative_to(attack.source)}.jpg" for file in attack.source.rglob("*.jpg")),
        }
        - denied
    )
    client.delete_bucket_policy(Bucket=direct.bucket)
    attack.is_made_whole_by_a_rerun()


def killed_for(seconds: float, engine: str, tmp_path: Path, source: Path) -> None:
    with EmbeddedStore(tmp_path / "server") as server:
        server.make_bucket("bucket")
        direct = Target(server.store(), "bucket")
        with FaultProxy(direct.store) as proxy:
            attack = Attack(proxy, Target(proxy.store, "bucket"), direct, source, engine)
            killed: list[threading.Timer] = []
            requests = 0

            def choose(exchange: Exchange) -> Fault | None:
                nonlocal requests
                requests += exchange.sends
                if requests == IMAGES and not killed:
                    server.kill()
                    killed.append(threading.Timer(seconds, server.start))
                    killed[0].start()
                return None

            began = time.monotonic()
            outcome = attack.deliver(choose)
            took = time.monotonic() - began
            killed[0].join()
            attack.holds(outcome)
            assert isinstance(outcome, Summary), outcome
            print(f"\n{engine}: dead for {seconds:g} s, {took:.0f} s in all, {outcome.counts.delivered} delivered")
            assert took < seconds + 120
            assert (outcome.counts.delivered, outcome.exit_status) == (IMAGES, 0), (outcome, attack.target.lines)
            attack.is_made_whole_by_a_rerun()
            proxy.store.renew()
        direct.store.renew()


@pytest.mark.parametrize("engine", ["s5cmd"])
def test_a_store_that_dies_for_three_seconds(engine: str, tmp_path: Path, source: Path) -> None:
    killed_for(3, engine, tmp_path, source)


@pytest.mark.attack
@ENGINES
def test_a_store_that_dies_for_thirty_seconds(engine: str, tmp_path: Path, source: Path) -> None:
    killed_for(30, engine, tmp_path, source)


@pytest.mark.attack
@pytest.mark.timeout(1800)
@ENGINES
def test_a_store_that_falls_silent_is_given_up_in_the_stated_time(attack: Attack) -> None:
    """With the patience that users have: four attempts of a minute, for each engine, and the pauses between."""
    began = time.monotonic()
    outcome = attack.deliver(sent(silence, after=10))
    took = time.monotonic() - began
    print(f"\n{attack.engine}: {took:.0f} s until a silent store was given up")
    attack.holds(outcome)
    assert isinstance(outcome, Summary), outcome
    assert outcome.exit_status == 1
    assert took < 15 * 60
