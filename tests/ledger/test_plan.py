"""Which images a run works on: what is new, changed or missing, and what stands as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from imagehaul.errors import Code
from imagehaul.records import SendResult, SourceFile
from tests.support.simulated import LAYOUT, MAPPING, WANTED, Site, box, key, ledger_of, md5, said


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Two pictures, the first with one box."""
    site = Site(tmp_path, annotations=said("a.jpg", box()))
    site.write("a.jpg", "first")
    site.write("f/b.png", "second")
    return site


CROP = key("crops", f"a.jpg/{box().id}.jpg")


def test_all_is_new_at_first_and_nothing_is_to_do_after_it(site: Site) -> None:
    first = site.deliver()
    assert (first.plan.new, first.plan.work, first.plan.planned, first.plan.planned_bytes) == (2, 2, 2, 11)
    again = site.run()
    assert (again.plan.carried, again.plan.work, again.plan.batches) == (2, 0, ())


def test_a_changed_source_is_sent_again_and_nothing_else(site: Site) -> None:
    site.deliver()
    site.write("f/b.png", "changed")
    run = site.deliver()
    assert run.decisions == {"a.jpg": "carry", "f/b.png": "changed"}
    assert run.sent == [key("thumbnails", "f/b.png.jpg"), key("images", "f/b.png")]


def test_a_source_that_was_only_touched_is_looked_at_and_not_sent(site: Site) -> None:
    site.deliver()
    (site.folder / "source" / "a.jpg").touch()
    run = site.deliver()
    assert (run.plan.changed, run.sent, run.counts.unchanged) == (1, [], 2)
    assert site.run().plan.work == 0


def test_what_has_gone_from_the_source_is_counted_and_stays_in_the_store(site: Site) -> None:
    site.deliver()
    site.remove("a.jpg")
    run = site.deliver()
    assert (run.plan.vanished, run.plan.published, run.plan.planned) == (1, 2, 1)
    assert key("images", "a.jpg") in site.store
    assert {row.source_path for row in run.rows} == {"f/b.png"}


@pytest.mark.parametrize("lost", [key("images", "a.jpg"), key("thumbnails", "a.jpg.jpg"), CROP])
@pytest.mark.parametrize("how", ["missing", "other ETag", "other size"])
def test_an_object_that_is_missing_or_another_is_sent_again_alone(lost: str, how: str, site: Site) -> None:
    site.deliver()
    item = site.store.pop(lost)
    if how != "missing":
        site.store[lost] = replace(item, etag=md5("other")) if how == "other ETag" else replace(item, size=1)
    run = site.deliver()
    assert run.decisions == {"a.jpg": "redo", "f/b.png": "carry"}
    assert run.sent == [lost]


@pytest.mark.parametrize(
    ("recipe", "kind"), [("image_recipe", "images"), ("thumbnail_recipe", "thumbnails"), ("crop_recipe", "crops")]
)
def test_a_setting_that_an_object_depends_on_makes_that_kind_anew(recipe: str, kind: str, site: Site) -> None:
    site.deliver()
    site.wanted = replace(WANTED, **{recipe: "other"})  # type: ignore[arg-type]
    run = site.deliver()
    assert run.plan.redo == (1 if kind == "crops" else 2)
    assert {sent.removeprefix(LAYOUT.root).split("/")[0] for sent in run.sent} == {kind}
    assert site.run().plan.work == 0


def test_boxes_added_changed_and_removed_move_their_crops_alone(site: Site) -> None:
    site.deliver()
    added = box(x=7)
    site.annotations = said("a.jpg", box(), added)
    run = site.deliver()
    assert (run.decisions["a.jpg"], run.sent) == ("redo", [key("crops", f"a.jpg/{added.id}.jpg")])
    renamed = replace(added, label="cat")
    site.annotations = said("a.jpg", box(), renamed)
    assert site.deliver().sent == [key("crops", f"a.jpg/{renamed.id}.jpg")]
    site.annotations = said("a.jpg", renamed)
    run = site.deliver()
    assert (run.decisions["a.jpg"], run.keys("crop")) == ("carry", [key("crops", f"a.jpg/{renamed.id}.jpg")])


def test_crops_are_left_out_and_come_back_without_being_sent(site: Site) -> None:
    site.deliver()
    assert site.deliver(crops=False).keys("crop") == []
    run = site.deliver()
    assert (run.decisions["a.jpg"], run.keys("crop"), run.sent) == ("redo", [CROP], [])


def test_the_same_box_said_twice_is_one_crop(site: Site) -> None:
    site.annotations = said("a.jpg", box(), box())
    assert site.deliver().sent.count(CROP) == 1
    assert site.run().plan.work == 0


def test_a_box_that_cannot_be_cut_is_not_tried_again(site: Site) -> None:
    site.annotations = said("a.jpg", box(width=0))
    assert site.deliver().counts.delivered == 2
    assert site.run().plan.work == 0


def test_thumbnails_are_left_out_and_come_back_without_being_sent(site: Site) -> None:
    site.deliver()
    without = site.deliver(thumbnails=False)
    assert (without.plan.work, without.keys("thumbnail")) == (0, [])
    run = site.deliver()
    assert (run.plan.redo, run.sent, run.counts.unchanged) == (2, [], 2)
    assert site.run().plan.work == 0


def test_thumbnails_of_another_format_are_made_beside_the_old(site: Site) -> None:
    site.deliver()
    site.mapping = replace(MAPPING, thumbnail_suffix=".webp")
    site.wanted = replace(WANTED, thumbnail_recipe="webp")
    run = site.deliver()
    assert sorted(run.sent) == [key("thumbnails", "a.jpg.webp"), key("thumbnails", "f/b.png.webp")]
    assert run.keys("thumbnail") == sorted(run.sent)
    assert key("thumbnails", "a.jpg.jpg") in site.store


def test_images_under_other_names_are_sent_again(site: Site) -> None:
    site.deliver()
    site.mapping = replace(MAPPING, transfer="media_id")
    run = site.deliver()
    assert (run.plan.redo, run.plan.moved, len(run.sent)) == (2, 2, 5)
    again = site.run()
    assert (again.plan.work, again.plan.moved) == (0, 0)


@pytest.mark.parametrize(("text", "code"), [("broken", "UNDECODABLE"), ("", "EMPTY"), ("crash", "DECODER_CRASHED")])
def test_what_holds_no_picture_is_rejected_once_and_sent_only_on_demand(text: str, code: str, site: Site) -> None:
    site.write("c.jpg", text)
    assert site.deliver().status["c.jpg"] == f"rejected {code}"
    again = site.deliver()
    assert (again.plan.rejected, again.drawn, again.status["c.jpg"]) == (1, 0, f"rejected {code}")
    asked = site.deliver(deliver_undecodable=True)
    assert (asked.sent, asked.status["c.jpg"]) == ([key("images", "c.jpg")], f"delivered {code}")
    assert site.deliver(deliver_undecodable=True).drawn == 0
    assert site.deliver().status["c.jpg"] == f"rejected {code}"


def test_a_file_that_was_mended_is_sent(site: Site) -> None:
    site.write("c.jpg", "broken")
    site.deliver()
    site.write("c.jpg", "mended")
    assert site.deliver().status["c.jpg"] == "delivered"


def test_a_huge_picture_is_looked_at_again_when_the_limit_is_raised(site: Site) -> None:
    site.write("c.jpg", "huge")
    assert site.deliver().status["c.jpg"] == "delivered PIXEL_LIMIT"
    assert site.deliver().drawn == 0
    site.wanted = replace(WANTED, pixel_limit=10_000)
    run = site.deliver()
    assert (run.sent, run.status["c.jpg"]) == ([key("thumbnails", "c.jpg.jpg")], "unchanged")
    assert site.deliver().drawn == 0


def test_a_picture_that_we_cannot_read_is_delivered_once_without_renditions(site: Site) -> None:
    site.write("c.jpg", "unsupported")
    run = site.deliver()
    assert run.status["c.jpg"] == "delivered FORMAT_UNSUPPORTED"
    assert key("thumbnails", "c.jpg.jpg") not in site.store
    again = site.deliver()
    assert (again.drawn, again.sent, again.status["c.jpg"]) == (0, [], "unchanged FORMAT_UNSUPPORTED")


def test_a_picture_with_a_remark_is_delivered_once_with_its_renditions(site: Site) -> None:
    site.write("c.jpg", "no end")
    assert site.deliver().status["c.jpg"] == "delivered END_MISSING"
    assert key("thumbnails", "c.jpg.jpg") in site.store
    assert (site.deliver().drawn, site.deliver().sent) == (0, [])
    site.wanted = replace(WANTED, thumbnail_recipe="other")
    assert site.deliver().drawn == 3


@pytest.mark.parametrize("rerun", ["changed", "failed"])
def test_what_was_rejected_is_looked_at_again_when_decoders_read_more(rerun: str, site: Site) -> None:
    """A ledger of before may also say that a decoder died, where it was our own process that could not read a name."""
    site.write("c.jpg", "crash")
    site.deliver()
    assert site.run(rerun=rerun).decisions["c.jpg"] == "carry"
    site.wanted = replace(WANTED, judgement="new decoders")
    assert site.run(rerun=rerun).decisions == {"a.jpg": "carry", "c.jpg": "redo", "f/b.png": "carry"}
    assert site.deliver(rerun=rerun).status["c.jpg"] == "rejected DECODER_CRASHED"
    assert site.deliver(rerun=rerun).drawn == 0


def test_a_full_check_looks_once_at_what_was_not_decoded(site: Site) -> None:
    site.wanted = replace(WANTED, thumbnails=False, crops=False)
    for path in ("huge", "broken"):
        site.write(f"{path}.jpg", path)
    site.deliver()
    run = site.deliver(full_check=True)
    assert (run.decisions["a.jpg"], run.drawn, run.sent) == ("redo", 2, [])
    assert site.deliver(full_check=True).drawn == 0
    assert site.deliver().drawn == 0


RETRYABLE = sorted(name for name in ("TIME_LIMIT", "UNREADABLE", "LINK_DANGLING") if Code[name].retryable)


@pytest.mark.parametrize("code", RETRYABLE)
def test_a_reject_that_may_succeed_later_is_tried_again(code: str, site: Site) -> None:
    first = site.deliver()
    row = next(row for row in first.rows if row.kind == "image").with_problem("rejected", code)
    site.earlier = [ledger_of(site.folder, [row])]
    assert site.run().decisions == {"a.jpg": "redo", "f/b.png": "new"}
    assert site.run(rerun="failed").decisions == {"a.jpg": "redo", "f/b.png": "hold"}


def test_an_image_that_became_unreadable_is_rejected_and_comes_back_unsent(site: Site) -> None:
    site.deliver()
    path = site.folder / "source" / "a.jpg"
    path.rename(site.folder / "away")
    run = site.run(rejected=[SourceFile("a.jpg", 0, "", "UNREADABLE", "Permission denied.")])
    run.work()
    run.prove()
    assert (run.status, run.plan.vanished) == ({"a.jpg": "rejected UNREADABLE", "f/b.png": "unchanged"}, 0)
    run.refuse()
    (site.folder / "away").rename(path)
    run = site.deliver()
    assert (run.plan.planned, run.counts.unchanged, run.sent) == (2, 2, [])


def failed(path: str) -> SendResult:
    return SendResult(key("images", path), "failed", "STORE_BUSY", "SlowDown")


def test_rerun_failed_retries_what_failed_and_leaves_the_rest(site: Site) -> None:
    site.write("failed.jpg", "failed")
    site.write("broken.jpg", "broken")
    run = site.run()
    run.work(misses=[failed("failed.jpg")])
    run.prove()
    assert (run.counts.failed, run.status["failed.jpg"]) == (1, "failed STORE_BUSY")
    run.refuse()
    site.write("new.jpg", "new")
    site.write("a.jpg", "changed")
    run = site.run(rerun="failed")
    assert run.decisions == {
        "a.jpg": "carry",
        "broken.jpg": "carry",
        "f/b.png": "carry",
        "failed.jpg": "redo",
        "new.jpg": "hold",
    }
    assert (run.plan.planned, run.plan.carried, run.plan.rejected, run.plan.held) == (5, 2, 1, 1)
    run.work()
    run.prove()
    assert run.sent == [key("images", "failed.jpg")]
    assert run.status == {
        "a.jpg": "unchanged",
        "broken.jpg": "rejected UNDECODABLE",
        "f/b.png": "unchanged",
        "failed.jpg": "delivered",
        "new.jpg": "failed HELD_BACK",
    }


def test_rerun_failed_holds_a_new_image_back_however_often_and_a_plain_run_sends_it(site: Site) -> None:
    site.deliver()
    site.write("new.jpg", "new")
    for _ in range(2):
        run = site.run(rerun="failed")
        run.prove()
        assert run.decisions["new.jpg"] == "hold"
        run.refuse()
    run = site.deliver()
    assert (run.plan.new, run.status["new.jpg"]) == (1, "delivered")


def test_rerun_failed_completes_an_image_whose_rendition_is_no_longer_there(site: Site) -> None:
    """So a repair works: it takes what it found broken for not being in the store."""
    site.deliver()
    del site.store[key("thumbnails", "f/b.png.jpg")]
    run = site.deliver(rerun="failed")
    assert run.decisions == {"a.jpg": "carry", "f/b.png": "redo"}
    assert (run.sent, run.status["f/b.png"]) == ([key("thumbnails", "f/b.png.jpg")], "unchanged")


def test_rerun_failed_tries_a_rendition_again_and_keeps_those_of_old_settings(site: Site) -> None:
    run = site.run()
    run.work(misses=[SendResult(CROP, "failed", "STORE_BUSY", "SlowDown")])
    run.prove()
    assert run.status["a.jpg"] == "failed RENDITION_FAILED"
    run.refuse()
    site.mapping, site.wanted = replace(MAPPING, thumbnail_suffix=".webp"), replace(WANTED, thumbnail_recipe="webp")
    run = site.deliver(rerun="failed")
    assert run.decisions == {"a.jpg": "redo", "f/b.png": "carry"}
    assert CROP in run.sent
    assert run.keys("thumbnail") == [key("thumbnails", "a.jpg.webp"), key("thumbnails", "f/b.png.jpg")]


def test_rerun_all_sends_everything_again(site: Site) -> None:
    site.write("broken.jpg", "broken")
    site.deliver()
    run = site.deliver(rerun="all")
    assert (run.plan.redo, run.counts.delivered, run.counts.rejected, len(run.sent)) == (3, 2, 1, 5)


def test_the_journal_of_a_killed_run_saves_what_it_says(site: Site) -> None:
    for number in range(3):
        site.write(f"more/{number}.jpg", f"more {number}")
    killed = site.run()
    killed.work(batches=1)
    killed.die()
    run = site.run()
    assert sorted(run.decisions.values()) == ["carry", "carry", "new", "new", "new"]
    run.work()
    run.prove()
    assert (run.counts.unchanged, run.counts.delivered) == (2, 3)


def test_what_lies_there_is_not_sent_again_even_where_no_ledger_survived(site: Site) -> None:
    site.deliver()
    site.earlier = []
    run = site.deliver()
    assert (run.plan.new, run.sent, run.counts.unchanged) == (2, [], 2)


def test_objects_with_etags_of_the_stores_own_stand_as_they_were_proven(site: Site) -> None:
    """No hash follows from such an ETag, so that only the ledger knows them again."""

    def etag(hashed: str) -> str:
        return f"own-{hashed[:8]}"

    assert site.deliver(etag=etag).counts.delivered == 2
    assert site.run().plan.carried == 2
    (site.folder / "source" / "a.jpg").touch()
    run = site.deliver(etag=etag)
    assert (run.plan.changed, run.sent) == (1, [])


def test_a_new_setting_of_headers_is_not_taken_for_done_by_a_failure(site: Site) -> None:
    """The bytes are the same before and after, so that no listing tells which headers the object has."""
    site.deliver()
    site.wanted = replace(WANTED, image_recipe="image+header")
    for end in ("refuse", "die"):
        run = site.run()
        run.work(misses=[failed("a.jpg")])
        run.prove()
        assert run.status["a.jpg"] == "failed STORE_BUSY"
        getattr(run, end)()
        assert site.run().decisions["a.jpg"] == "redo"
    assert site.deliver().sent == [key("images", "a.jpg")]
    assert site.run().plan.work == 0


def test_a_new_setting_of_headers_is_kept_in_mind_by_a_partly_published_run(site: Site) -> None:
    site.deliver()
    site.wanted = replace(WANTED, image_recipe="image+header")
    run = site.run()
    run.work(misses=[failed("a.jpg")])
    run.prove()
    run.publish()
    assert site.deliver().sent == [key("images", "a.jpg")]


def test_the_word_of_a_later_run_counts(site: Site) -> None:
    """Published by one run, rejected by the next one, which is not published: one image, and one decision."""
    site.deliver()
    site.write("a.jpg", "broken")
    run = site.run()
    run.work()
    run.prove()
    run.refuse()
    run = site.run()
    assert (run.plan.planned, run.decisions["a.jpg"], run.plan.rejected) == (2, "carry", 1)
    run.prove()
    assert [row.kind for row in run.rows if row.source_path == "a.jpg"] == ["image"]


def test_names_that_cannot_be_keys_are_rejected_and_counted(site: Site) -> None:
    run = site.run(rejected=[SourceFile("x" * 2000 + ".jpg", 1, ""), SourceFile("d/../e.jpg", 1, "")])
    assert (run.plan.planned, run.plan.rejected, run.plan.new) == (4, 2, 2)
