"""What the store or the scratch disk did ends a run as a sentence; what a bug raises stays what it is."""

from __future__ import annotations

import errno

import pytest

from imagehaul.delivery.faults import explaining_faults
from imagehaul.errors import HaulError, StoreError
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store

SETTINGS = Settings(remote_save="s3://images/", scratch="/mnt/scratch")
STORE = Store("http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/mnt/scratch/a"), "No space left on device"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (OSError(), "OSError"),
    ],
)
def test_a_fault_of_the_disk_names_the_scratch_folder(error: OSError, sentence: str) -> None:
    with pytest.raises(HaulError) as raised, explaining_faults("deliver", SETTINGS, STORE):
        raise error
    assert sentence in str(raised.value)
    assert "Temporary files lie in /mnt/scratch" in str(raised.value)
    assert raised.value.__cause__ is error


def test_an_error_of_the_store_is_the_stores() -> None:
    with pytest.raises(StoreError, match="cannot be reached"), explaining_faults("deliver", SETTINGS, STORE):
        raise ConnectionResetError("reset by peer")


@pytest.mark.parametrize("error", [HaulError("Our own words."), ZeroDivisionError("a bug")])
def test_other_errors_stay_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, explaining_faults("deliver", SETTINGS, STORE):
        raise error
    assert raised.value is error
