"""A repair mends the data set that was delivered, and publishes no other one in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagehaul.delivery.batch_threads import in_threads
from imagehaul.delivery.repair import verify_and_repair
from imagehaul.delivery.summary import Summary
from imagehaul.delivery.verification import Verification
from imagehaul.errors import SettingsError
from imagehaul.settings import Settings
from tests.support.delivering import Lines, Target, draw

SETTINGS: dict[str, Any] = {"save_thumbnails_method": "both", "exports": "csv,coco"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for number in range(3):
        draw(folder / f"{number}.jpg", seed=number)
    boxes = "".join(f"{number}.jpg,10,20,40,40,boat\n" for number in range(3))
    (folder / "object_annotations.csv").write_text(f"filename,col_x,row_y,width,height,label\n{boxes}")
    return folder


def mended(
    target: Target, source: Path, source_name: str = "", **settings: Any
) -> tuple[Verification, Summary | None, Lines]:
    lines = Lines()
    chosen = Settings(remote_save=f"s3://{target.bucket}/{target.prefix}", workers=1, **settings)
    found, summary = verify_and_repair(
        target.dataset, chosen, target.store, lines, in_threads, repair=str(source), source_name=source_name
    )
    return found, summary, lines


def test_a_crop_that_is_gone_is_made_again_with_the_settings_of_the_delivery(target: Target, source: Path) -> None:
    assert target.deliver(source, settings=SETTINGS).counts.objects == 9
    crop, *_ = target.listed("crops/")
    target.remove(crop)
    found, _, _ = mended(target, source, **SETTINGS)
    assert (found.proven, found.missing, found.exit_status) == (9, 0, 0)
    assert target.current()["exports"].keys() == {"json", "parquet", "csv", "coco"}


def test_with_other_settings_nothing_leaves_the_index(target: Target, source: Path) -> None:
    target.deliver(source, settings=SETTINGS)
    crop, *_ = target.listed("crops/")
    target.remove(crop)
    before = target.current()
    with pytest.raises(SettingsError) as refused:
        mended(target, source)
    assert str(refused.value).splitlines() == [
        "'set' was delivered with SAVE_THUMBNAILS_METHOD=both, EXPORTS=coco,csv, and would be mended with "
        "SAVE_THUMBNAILS_METHOD=image, EXPORTS=: what was made by those settings would leave the index.",
        "Give the settings of the delivery here as well, or deliver the data set again with the new ones.",
    ]
    assert target.current() == before


def test_settings_that_shape_nothing_may_differ(target: Target, source: Path) -> None:
    target.deliver(source, settings={"batch_size": 2, "transfer_workers": 3})
    target.remove("images/1.jpg")
    found, _, _ = mended(target, source, batch_size=100, max_rejected=0.5)
    assert (found.proven, found.exit_status) == (6, 0)


def test_a_source_that_the_data_set_has_not_is_refused_and_not_added(target: Target, source: Path) -> None:
    target.deliver(source, source_name="two")
    target.remove("images/1.jpg")
    with pytest.raises(SettingsError, match=r"has no source 'main'\. It has two"):
        mended(target, source)
    found, _, _ = mended(target, source, "two")
    assert found.exit_status == 0
    assert target.current()["sources"].keys() == {"two"}


def test_what_could_not_be_mended_is_named_with_the_reason(target: Target, source: Path) -> None:
    (source / "broken.jpg").write_text("This one was rejected before, and is no finding.")
    target.deliver(source, allow_loss=True)
    target.remove("images/1.jpg")
    (source / "1.jpg").write_bytes(b"")
    found, summary, lines = mended(target, source)
    assert found.exit_status == 1
    assert summary is not None
    assert [line[:26] for line in lines.said if line.startswith("Not mended")] == ["Not mended: 1.jpg: EMPTY. "]


def test_where_the_report_is_gone_it_is_said_that_the_settings_are_not_known(target: Target, source: Path) -> None:
    target.deliver(source)
    target.remove(f"runs/{target.current()['run']}/report.json")
    target.remove("images/1.jpg")
    found, _, lines = mended(target, source)
    assert found.exit_status == 0
    assert [line[:27] for line in lines.warned if "not known" in line] == ["The report of the run that "]
