"""What botocore reads of a service from its own files before it can make a client: once a process, and quickly.

botocore looks through the folders of all four hundred services to see which there are, and reads JSON into dictionaries
of a kind that takes five times as long: a fifth of a second before the first request, in each process.
"""

from __future__ import annotations

import functools
import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from botocore.loaders import Loader

_SERVICES = ["s3", "sts"]
"""Our clients speak to no others. Keys of profiles are found by a session of botocore's own."""


class _Files:
    """Stands for botocore's `JSONFileLoader`. Paths come without their suffix."""

    def exists(self, file_path: str) -> bool:
        return any(Path(file_path + suffix).is_file() for suffix in (".json", ".json.gz"))

    def load_file(self, file_path: str) -> Any:
        """None where there is no such file."""
        plain, packed = Path(f"{file_path}.json"), Path(f"{file_path}.json.gz")
        if plain.is_file():
            return orjson.loads(plain.read_bytes())
        return orjson.loads(gzip.decompress(packed.read_bytes())) if packed.is_file() else None


@functools.cache
def service_descriptions() -> Loader:
    from botocore.loaders import Loader

    class Descriptions(Loader):
        def list_available_services(self, type_name: str) -> list[str]:
            return _SERVICES

    return Descriptions(file_loader=_Files())  # type: ignore[arg-type]
