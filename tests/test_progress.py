"""What a person sees while a run works, and at its end."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from imagehaul.cli.terminal import print_summary, standard_output
from imagehaul.delivery.summary import Summary
from imagehaul.ledger.counts import Counts, Reason
from imagehaul.progress import LogProgress, Work, human_bytes, lasting, shown_on


def test_a_log_gets_a_line_for_a_stage_and_few_for_images() -> None:
    lines: list[str] = []
    progress = LogProgress(lines.append, lines.append, interval=60)
    progress.stage("Listing")
    progress.expect(1000, 10_000)
    for _ in range(1000):
        progress.advance(1, 10)
    assert lines[0] == "Listing"
    assert len(lines) == 2, "the end is said, and not each image"
    assert "1,000 of 1,000 images (100%)" in lines[1]


def test_a_line_says_how_far_how_fast_and_how_long() -> None:
    work = Work(images=100, size=1000, since=0)
    for now in range(1, 6):
        work.advance(10, 100, now)
    assert work.line() == "50 of 100 images (50%), 500 bytes, 10/s, about 5 s to go"


def test_the_start_of_the_workers_and_the_first_batch_are_no_measure_of_the_rest() -> None:
    work = Work(images=12_000, size=12_000, since=0)
    work.advance(1000, 1000, 12)
    assert work.line() == "1,000 of 12,000 images (8%), 1.0 kB"
    work.advance(1000, 1000, 12.1)
    assert work.pace() == "", "two workers that end together are no rate"
    for now in (16, 16.1, 20, 20.1, 24, 24.1):
        work.advance(1000, 1000, now)
    assert work.pace() == "579/s, about 7 s to go"


def test_a_rate_is_that_of_the_last_minute() -> None:
    work = Work(images=100_000, size=0, since=0)
    for second in range(100):
        work.advance(1000 if second < 20 else 10, 0, second)
    assert work.pace() == "10/s, about 2 h 12 min to go"


def test_the_end_says_how_long_all_of_it_took() -> None:
    work = Work(images=20, size=40, what="objects", since=0)
    work.advance(20, 40, 40)
    assert work.line() == "20 of 20 objects (100%), 40 bytes, 0.5/s, in 40 s"


@pytest.mark.parametrize(("seconds", "words"), [(0.21, "0.2 s"), (99, "99 s"), (110, "2 min"), (12_000, "3 h 20 min")])
def test_a_time_to_wait_is_said_as_one_would(seconds: float, words: str) -> None:
    assert lasting(seconds) == words


def test_a_stream_that_is_no_terminal_gets_lines_with_the_time() -> None:
    stream = io.StringIO()
    with shown_on(stream) as progress:
        progress.say("hello")
        progress.warn("careful")
    first, second = stream.getvalue().splitlines()
    assert first.endswith(" hello")
    assert second.endswith(" warning: careful")


def test_what_the_log_warns_of_is_a_line_like_the_others() -> None:
    stream = io.StringIO()
    with shown_on(stream):
        logging.getLogger("imagehaul.store").warning("No TLS to %s", "it")
    logging.getLogger("imagehaul.store").warning("afterwards")
    (line,) = stream.getvalue().splitlines()
    assert line.endswith(" warning: No TLS to it")


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (3e13, "30.0 TB")]
)
def test_bytes_are_said_in_units_of_a_thousand(size: float, words: str) -> None:
    assert human_bytes(size) == words


def summary(**more: object) -> Summary:
    counts = Counts(planned=4, delivered=2, unchanged=1, rejected=1, objects=5, bytes=1234)
    given: dict[str, object] = {
        "dataset": "set", "run": "r", "source": "/pictures", "counts": counts, "new": 2, "changed": 0, "vanished": 0,
        "seconds": 2.0, "engine": "s5cmd", "ledger": "s3://b/ledger/", "published": True, "exports": {"json": "s3://b/export/metadata.json"},
    }  # fmt: skip
    return Summary(**{**given, **more})  # type: ignore[arg-type]


def shown(what: Summary) -> str:
    stream = io.StringIO()
    print_summary(what, Console(file=stream, width=200))
    return stream.getvalue()


def test_the_end_shows_counts_rates_and_where_to_look() -> None:
    text = shown(summary())
    for words in ("planned", "2 images/s", "1.2 kB", "Published", "s3://b/ledger/", "s3://b/export/metadata.json"):
        assert words in text


def test_a_file_gets_each_line_whole(capsys: pytest.CaptureFixture[str]) -> None:
    where = "s3://bucket/" + "long/" * 100 + "metadata.json"
    print_summary(summary(exports={"json": where}), standard_output())
    assert f"export  {where}  (json)\n" in capsys.readouterr().out


def test_each_reason_has_its_count_an_example_and_what_to_do() -> None:
    text = shown(summary(reasons=(Reason("EMPTY", "rejected", 1, 0, "a.jpg", "The file has no bytes."),)))
    assert "rejected: EMPTY, 1 image, for example a.jpg" in text
    assert "Restore the file." in text


def test_a_hostile_name_cannot_move_the_cursor_or_style_the_text() -> None:
    text = shown(summary(reasons=(Reason("EMPTY", "rejected", 1, 0, "\x1b[2J[red]x\n.jpg", "m"),)))
    assert "\x1b" not in text
    assert "\\x1b[2J[red]x\\n.jpg" in text


def test_what_was_not_published_says_why() -> None:
    text = shown(summary(published=False, refused="1 of 4 images are not proven. Run q is still current."))
    assert "Not published: 1 of 4 images are not proven. Run q is still current." in text


def test_a_dry_run_says_what_would_be_sent() -> None:
    counts = Counts(planned=4, unchanged=1, rejected=1, pending=2)
    text = shown(summary(counts=counts, dry_run=True, published=False, pending_bytes=5000, notes=("a.jpg → s3://b/a",)))
    assert "to send" in text
    assert "For example:\n    a.jpg → s3://b/a\n" in text
    assert "images/s" not in text
    assert "5.0 kB" in text
    assert "nothing was sent" in text
    assert "delivered" not in text
