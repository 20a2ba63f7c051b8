"""`imagehaul deliver` as a flow run, whose Prefect API goes away in its middle: what was delivered is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from imagehaul.delivery.summary import Summary
from imagehaul.errors import HaulError, SourceError
from imagehaul.flows.deliver_here import deliver_here
from imagehaul.records import Request
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store
from tests.support.delivering import Lines, draw
from tests.support.prefect_runs import Prefect
from tests.support.tap import Tap

pytestmark = pytest.mark.prefect


@pytest.fixture
def tap(prefect: Prefect) -> Iterator[Tap]:
    """What stands between this process and its API, and can be closed."""
    with (
        Tap(prefect.url.removeprefix("http://")) as tap,
        temporary_settings({PREFECT_API_URL: f"http://{tap.address}/api", PREFECT_CLIENT_MAX_RETRIES: 0}),
    ):
        yield tap


@pytest.fixture
def deliver(store: Store, bucket: str, tmp_path: Path) -> Callable[[Lines], Summary]:
    draw(tmp_path / "source" / "a.jpg")
    request = Request("away", str(tmp_path / "source"))
    return lambda lines: deliver_here(request, Settings(remote_save=f"s3://{bucket}/", workers=1), store, lines)


def test_a_delivery_that_has_ended_gives_its_summary(
    tap: Tap, deliver: Callable[[Lines], Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagehaul.flows.deliver.publish_artifacts", lambda *_: tap.__exit__())
    monkeypatch.setattr("imagehaul.flows.deliver.tell_others", lambda *_: None)
    lines = Lines()
    summary = deliver(lines)
    assert (summary.counts.delivered, summary.published, summary.exit_status) == (1, True, 0)
    assert "Prefect's API is away" in lines.warned[-1]


def test_one_that_has_not_ended_says_what_to_do(
    tap: Tap, deliver: Callable[[Lines], Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    def goes_away(*_: Any) -> None:
        tap.__exit__()
        raise SourceError("The source cannot be read.")

    monkeypatch.setattr("imagehaul.flows.deliver.refuse_lost", goes_away)
    with pytest.raises(HaulError, match=r"API went away \(\w+\) before the delivery had ended\. Run again"):
        deliver(Lines())
