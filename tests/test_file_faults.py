"""What a file that cannot be read means for its image."""

from __future__ import annotations

import errno
import os

import pytest

from imagehaul.file_faults import code_of


@pytest.mark.parametrize(
    ("number", "code", "status"),
    [
        (errno.ENOENT, "SOURCE_GONE", "failed"),
        (errno.ENOTDIR, "SOURCE_GONE", "failed"),
        (errno.ESTALE, "SOURCE_GONE", "failed"),
        (errno.ENOTCONN, "SOURCE_GONE", "failed"),
        (errno.EMFILE, "MACHINE_BUSY", "failed"),
        (errno.ENFILE, "MACHINE_BUSY", "failed"),
        (errno.ENOMEM, "MACHINE_BUSY", "failed"),
        (errno.EACCES, "UNREADABLE", "rejected"),
        (errno.EIO, "UNREADABLE", "rejected"),
    ],
)
def test_only_what_lies_in_the_file_is_rejected(number: int, code: str, status: str) -> None:
    found = code_of(OSError(number, os.strerror(number)))
    assert (found, found.status) == (code, status)
