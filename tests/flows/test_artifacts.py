"""What a flow run shows in the UI: true, small, and harmless whatever the files are called."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prefect.artifacts import Artifact

from imagehaul.flows import artifacts
from imagehaul.flows.artifacts import artifact_key, publish_artifacts, summary_markdown
from imagehaul.markdown import cell
from imagehaul.settings import Settings
from tests.support.delivering import Target, draw
from tests.support.fault_proxy import FaultProxy

HOSTILE = "<img src=x onerror=alert(1)> ![i](http://evil.example/x.png) [l](javascript:x) `c` |a|.jpg"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What would be created, by kind: the real thing takes a server, and tests/test_deliver.py has it."""
    made: dict[str, dict[str, Any]] = {}

    def keep(**artifact: Any) -> None:
        made[artifact["key"].removesuffix("-set")] = artifact

    monkeypatch.setattr(artifacts, "create_markdown_artifact", keep)
    return made


def settings_of(target: Target, **settings: Any) -> Settings:
    return Settings(remote_save=f"s3://{target.bucket}/pre/", **settings)


def test_the_summary_tells_counts_reasons_places_and_the_settings_that_are_not_default(
    shown: dict[str, dict[str, Any]], target: Target, tmp_path: Path
) -> None:
    draw(tmp_path / "a.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    summary = target.deliver(tmp_path, settings={"max_rejected": 0.5})
    publish_artifacts(summary, settings_of(target, max_rejected=0.5, crop_margin=7), target.store)
    text = shown["summary"]["markdown"]
    assert "| delivered | 1 | 2 new, 0 changed |" in text
    assert re.search(r"\| rejected \| UNDECODABLE \| 1 \| 0 \| broken\.jpg \|", text)
    assert cell(summary.ledger) in text
    assert all(cell(uri) in text for uri in summary.exports.values())
    assert f"| CROP_MARGIN | {cell('7')} |" in text
    assert "THUMBNAIL_SIZE" not in text
    assert "INCLUDE" not in text
    assert shown["summary"]["description"] == summary.headline


def test_the_first_rejected_and_failed_files_stand_in_a_table_with_their_codes(
    shown: dict[str, dict[str, Any]], target: Target, tmp_path: Path
) -> None:
    for number in range(120):
        (tmp_path / f"{number:03}.jpg").write_bytes(b"no picture")
    publish_artifacts(target.deliver(tmp_path), settings_of(target), target.store)
    columns, _, *rows = shown["problems"]["markdown"].splitlines()
    assert columns == "| file | kind | status | code | message |"
    assert len(rows) == 100
    assert rows[0].startswith("| 000.jpg | image | rejected | UNDECODABLE | ")
    assert "The ledger has them all" in shown["problems"]["description"]


def test_the_card_is_shown_as_it_was_published(
    shown: dict[str, dict[str, Any]], target: Target, tmp_path: Path
) -> None:
    draw(tmp_path / "a.jpg")
    summary = target.deliver(tmp_path, settings={"exports": ("card",)})
    publish_artifacts(summary, settings_of(target), target.store)
    assert shown["card"]["markdown"] == target.read(f"exports/{summary.run}/card.md").decode()
    unchanged = target.deliver(tmp_path, settings={"exports": ("card",)})
    shown.clear()
    publish_artifacts(unchanged, settings_of(target), target.store)
    assert "card" not in shown


def test_the_contact_sheet_is_a_picture_within_the_markdown_below_200_kb(
    shown: dict[str, dict[str, Any]], target: Target, tmp_path: Path
) -> None:
    for number in range(60):
        draw(tmp_path / f"{number}.jpg", size=(640, 480), seed=number)
    summary, said = target.deliver(tmp_path), set[str | None]()
    with FaultProxy(target.store, lambda exchange: said.add(exchange.headers.get("x-amz-request-payer"))) as proxy:
        publish_artifacts(summary, settings_of(target, request_payer="requester"), proxy.store)
    assert said == {"requester"}
    markdown = shown["contact-sheet"]["markdown"]
    assert markdown.startswith("![contact sheet](data:image/jpeg;base64,")
    assert 5_000 < len(markdown) < 200_000


def test_a_contact_sheet_that_cannot_be_made_does_not_fail_the_delivery(
    shown: dict[str, dict[str, Any]], target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "a.jpg")
    summary = target.deliver(tmp_path)
    for key in summary.pictures:
        target.store.client().delete_object(Bucket=target.bucket, Key=key)
    warned: list[str] = []
    logger = type("Logger", (), {"warning": lambda _, *words: warned.append(str(words))})
    monkeypatch.setattr(artifacts, "get_run_logger", logger)
    publish_artifacts(summary, settings_of(target), target.store)
    assert "contact-sheet" not in shown
    assert len(warned) == 1


@pytest.mark.parametrize(
    "text", [HOSTILE, "www.evil.example", "http://evil.example/", "a\nb", "\x1b[31m", "\u202egpj.x"]
)
def test_text_of_others_stays_text(text: str) -> None:
    shown = cell(text)
    assert not re.search(r"(?<!\\)[<>\[\]()`|!*_:.#~&]", shown.replace("\\\\", ""))
    assert not any(ord(character) < 32 or character == "\u202e" for character in shown)


def test_a_hostile_name_is_harmless_in_every_artifact(
    shown: dict[str, dict[str, Any]], target: Target, tmp_path: Path
) -> None:
    (tmp_path / HOSTILE.replace("/", "_")).write_bytes(b"no picture")
    summary = target.deliver(tmp_path)
    publish_artifacts(summary, settings_of(target), target.store)
    for text in (shown["summary"]["markdown"], shown["problems"]["markdown"], summary_markdown(summary)):
        assert "<img" not in text.replace("\\<", "")
        assert "![i](" not in text


@pytest.mark.parametrize(
    "path",
    ["faults/empty.jpg", "/srv/data sets/img_001 (2).jpg", "s3://images/data-sets/raccoon/", "Größe=1,5+2%.png", "a-b"],
)
def test_an_ordinary_name_is_stored_as_it_is_to_be_copied_from_there(path: str) -> None:
    assert cell(path) == path


@pytest.mark.parametrize("path", ["1. a.jpg", "2) a.jpg", "- a", "+ a", "_a_", "a*b*c", "a__b__", "www.x.jpg", "s3:x"])
def test_a_name_that_means_something_in_markdown_is_protected(path: str) -> None:
    assert cell(path) != path
    assert re.sub(r"\\(.)", r"\1", cell(path)) == path


@pytest.mark.parametrize("dataset", ["set", "Set", "s.e.t", "s_e-t", "A" * 100, "1"])
def test_an_artifact_key_is_one_that_prefect_takes(dataset: str) -> None:
    Artifact(type="markdown", key=artifact_key("summary", dataset), data="")
    assert re.fullmatch(r"[a-z0-9-]+", artifact_key("summary", dataset))


def test_data_sets_whose_names_differ_have_artifacts_of_their_own() -> None:
    names = ["set", "Set", "s.et", "s-et", "s_et"]
    assert len({artifact_key("summary", name) for name in names}) == len(names)
