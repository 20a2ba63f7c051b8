"""Names of the lists that an archive holds for splits."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import quote


def named_apart(splits: Collection[str], taken: Collection[str]) -> dict[str, str]:
    """Split → its name in the format, each another one: `split-names` for `names` where that is `taken`."""
    names = {}
    for split in splits:
        name = split
        while name in taken or (name != split and name in splits):
            name = f"split-{name}"
        names[split] = name
    return names


def list_file(name: str) -> str:
    """One file in its folder, whatever the name: percent-encoded, as COCO's are."""
    return f"{quote(name, safe='')}.txt"
