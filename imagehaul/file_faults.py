"""Why a source's file cannot be opened or read: whether that lies in the file, or in this machine."""

from __future__ import annotations

import errno

from imagehaul.errors import Code

_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ENOTCONN}
"""The last two are of a network mount: its server, or whatever serves it here, no longer knows the file or is gone."""
_OF_MACHINE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def code_of(error: OSError) -> Code:
    """Only what lies in the one file is rejected: a run publishes without it."""
    if error.errno in _OF_MACHINE:
        return Code.MACHINE_BUSY
    return Code.SOURCE_GONE if error.errno in _GONE else Code.UNREADABLE
