"""Error codes: what follows from each, and what readers of a ledger may rely on."""

from __future__ import annotations

import pickle

import pytest

from imagehaul.errors import Code, StoreError, Trait

PUBLISHED = """
    NAME_NOT_UTF8 NAME_UNSUPPORTED KEY_TOO_LONG KEY_REWRITTEN LINK_DANGLING LINK_OUTSIDE LINK_CYCLE NOT_A_FILE
    UNREADABLE SOURCE_CHANGED SOURCE_GONE EMPTY UNDECODABLE DECODER_MISSING DECODER_CRASHED TIME_LIMIT MEMORY_LIMIT
    PIXEL_LIMIT BOX_EMPTY BOX_OUTSIDE BOX_NOT_A_NUMBER STORE_REFUSED STORE_BUSY NO_REPORT NOT_PROVEN
    RENDITION_FAILED DISK_FULL SCRATCH_UNWRITABLE ACCESS_DENIED CREDENTIALS_EXPIRED BUCKET_MISSING WRONG_REGION
    CLOCK_SKEWED STORE_FULL CERTIFICATE STORE_UNAVAILABLE HELD_BACK NOT_ATTEMPTED
"""


def with_trait(trait: Trait) -> set[str]:
    return set(Code.all_with(trait))


def test_no_code_that_a_ledger_may_hold_ever_goes_or_is_renamed() -> None:
    assert set(PUBLISHED.split()) <= set(Code.__members__)


@pytest.mark.parametrize("code", Code)
def test_a_code_is_written_by_its_name_and_says_what_is_wrong_and_what_to_do(code: Code) -> None:
    assert f"{code}" == code.value == code.name
    assert code.meaning.endswith(".")
    assert code.advice.endswith(".")


def test_what_lies_in_the_file_is_rejected_and_all_else_failed() -> None:
    assert {Code.UNDECODABLE.status, Code.UNREADABLE.status, Code.KEY_TOO_LONG.status} == {"rejected"}
    assert {Code.STORE_UNAVAILABLE.status, Code.SOURCE_CHANGED.status, Code.DISK_FULL.status} == {"failed"}


def test_every_failure_may_go_better_in_a_later_run() -> None:
    assert {code for code in Code if code.status == "failed"} <= with_trait(Trait.RETRYABLE)


def test_what_stops_a_run_or_passes_in_a_moment_or_comes_before_the_sender_is_no_files_fault() -> None:
    for trait in (Trait.STOPS_RUN, Trait.TRANSIENT, Trait.NOTHING_SENT):
        assert not with_trait(trait) & with_trait(Trait.OF_FILE)


def test_what_passes_in_a_moment_does_not_stop_a_run() -> None:
    assert not with_trait(Trait.TRANSIENT) & with_trait(Trait.STOPS_RUN)


def test_deliver_undecodable_sends_only_what_would_be_rejected_for_its_picture() -> None:
    assert with_trait(Trait.BYTES_DELIVERABLE) == {
        *("EMPTY", "COMPRESSED", "UNDECODABLE", "DECODER_MISSING", "DECODER_CRASHED", "TIME_LIMIT", "MEMORY_LIMIT"),
    }


def test_a_code_travels_between_processes_as_itself() -> None:
    assert pickle.loads(pickle.dumps(Code.EMPTY)) is Code.EMPTY


def test_a_code_of_a_newer_ledger_is_none_of_ours() -> None:
    assert Code.named("EMPTY") is Code.EMPTY
    assert Code.named("") is None
    assert Code.named("FROM_THE_FUTURE") is None


def test_an_error_of_the_store_says_which_reason_the_rows_get() -> None:
    assert StoreError("It is away.").code is Code.STORE_UNAVAILABLE
    assert StoreError("No.", Code.ACCESS_DENIED).code is Code.ACCESS_DENIED
