"""The folder for a run's temporary files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagehaul.errors import SettingsError
from imagehaul.settings import Settings

_PATTERNS = "?*[\\"
"""DuckDB takes these in a file's name for a pattern, and writes its own file beside the folder; `\\\\` is `/` to it."""


@contextmanager
def scratch_folder(settings: Settings) -> Iterator[Path]:
    """Removed in the end. Raises `SettingsError` where none can be made, or DuckDB could not use it."""
    above = settings.scratch or tempfile.gettempdir()
    origin = "SCRATCH" if settings.scratch else "TMPDIR"
    if any(mark in str(Path(above).absolute()) for mark in _PATTERNS):
        raise SettingsError(
            f"{origin}={above}: a name with ?, *, [ or \\ cannot be used for temporary files. "
            "Name another folder with SCRATCH."
        )
    try:
        folder = tempfile.TemporaryDirectory(prefix="imagehaul-", dir=above)
    except OSError as error:
        raise SettingsError(
            f"{origin}={above}: no temporary files can be written there: {error.strerror}. "
            "Grant permission, or name another folder with SCRATCH."
        ) from error
    with folder as made:
        yield Path(made)
