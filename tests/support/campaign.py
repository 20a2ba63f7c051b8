"""What campaigns of kills share: a source, what a delivery of it left in the store, and what went over the wire."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.delivering import Target, draw
from tests.support.fault_proxy import Exchange
from tests.support.sending import plain_client, stored


def draw_all(folder: Path, images: int, seed: int = 0, changed: int = 0) -> Path:
    """Pictures with a box in every third. `changed`: so many seeds further for two of three, under the same names."""
    for number in range(images):
        other = changed if number % 3 else 0
        draw(folder / f"f{number % 4}" / f"{number:03d}.jpg", size=(640, 480), seed=seed + number + other)
    rows = [f"f{number % 4}/{number:03d}.jpg,10,20,40,40,box" for number in range(0, images, 3)]
    (folder / "object_annotations.csv").write_text("\n".join(["filename,col_x,row_y,width,height,label", *rows]))
    return folder


def whole(objects: dict[str, bytes], target: Target) -> dict[str, bytes]:
    """The images, thumbnails and crops among them, by their keys below the data set's root."""
    below = {key.removeprefix(target.root): data for key, data in objects.items() if key.startswith(target.root)}
    return {key: data for key, data in below.items() if key.startswith(("images/", "thumbnails/", "crops/"))}


def state(target: Target) -> dict[str, Any]:
    """All that readers see, and a plain client reads: objects, ledger and index, but for the names of runs."""
    columns = ("source_path", "kind", "size", "md5", "sha256", "etag", "format", "width", "height", "label", "recipe")
    rows = [(row["key"].removeprefix(target.root), *(row[name] for name in columns)) for row in target.ledger()]
    return {
        "objects": whole(stored(target.store, target.bucket), target),
        "ledger": sorted(rows),
        "index": sorted(target.metadata()["media_items"], key=lambda item: item["file_path"]),
    }


def etags(target: Target) -> dict[str, str]:
    pages = plain_client(target.store).get_paginator("list_objects_v2").paginate(
        Bucket=target.bucket, Prefix=target.root
    )  # fmt: skip
    return {item["Key"].removeprefix(target.root): item["ETag"] for page in pages for item in page.get("Contents", ())}


@dataclass
class Wire:
    """Counts what is sent, by key below the data set's root."""

    root: str
    sent: Counter[str] = field(default_factory=Counter)

    def __call__(self, exchange: Exchange) -> None:
        if exchange.sends:
            self.sent[exchange.key.removeprefix(self.root)] += 1
