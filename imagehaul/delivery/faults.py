"""What ends a run and is no bug of ours: the store's errors and the scratch disk's, as sentences."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from imagehaul.errors import HaulError
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store
from imagehaul.store.explanations import Verb, explain
from imagehaul.text import printable


@contextmanager
def explaining_faults(doing: Verb, settings: Settings, store: Store) -> Iterator[None]:
    """Raises HaulError for what the store or the disk did, and what a bug raises as it is.

    What was sent by then stays, and a rerun finds it.
    """
    try:
        yield
    except HaulError:
        raise
    except Exception as error:
        raise _explained(error, doing, settings, store) from error


def _explained(error: Exception, doing: Verb, settings: Settings, store: Store) -> HaulError:
    """Raises the error itself where neither store nor disk can have caused it."""
    # Errors of s3fs are OSErrors, too, and name no file.
    if not (isinstance(error, OSError) and error.filename):
        with suppress(OSError):  # Raised again where it is not the store's: then it is the disk's.
            return explain(error, doing, "", store.url)
    words = str(error).partition("\n")[0] or type(error).__name__
    return HaulError(
        f"The run had to stop: {printable(words)}.\n"
        f"Temporary files lie in {settings.scratch or tempfile.gettempdir()}: free room there, or name another folder "
        "with SCRATCH. Run again."
    )
