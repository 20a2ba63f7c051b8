"""`metadata.json`: Visual Layer's export format 1.1, for a UX. https://docs.visual-layer.com/docs/the-export-format"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import orjson

from imagehaul.entity import Images, Issue, Statement
from imagehaul.exports.export import About, Exported, ExportFiles
from imagehaul.layout import MAIN_SOURCE
from imagehaul.records import Box

NAME = "metadata.json"
SCHEMA_VERSION = "1.1"


class MetadataJson:
    def __init__(self, about: About, files: ExportFiles) -> None:
        self._files, self._file = files, files.create()
        self._between = b"\n"
        layout = about.addresses.layout
        info = {
            "schema_version": SCHEMA_VERSION,
            "dataset": about.dataset,
            "description": f"Exported from {about.dataset} by {about.software}",
            "dataset_url": layout.uri(layout.root),
            "export_time": about.time,
            "dataset_creation_time": about.created,
            "exported_by": about.software,
            "total_media_items": about.images,
        }
        self._file.write(b'{"info": ' + orjson.dumps(info) + b',\n"media_items": [')

    def write_images(self, images: Images) -> None:
        lines = [orjson.dumps(item) for item in media_items(images)]
        self._file.write(self._between + b",\n".join(lines))
        self._between = b",\n"

    def close(self) -> Exported:
        self._file.write(b"\n]}\n")
        self._files.send(self._file, NAME)
        return Exported(NAME)


def media_items(images: Images) -> Iterator[dict[str, Any]]:
    """Entries of `media_items`; `cluster_id` and `uniqueness_score` are for programs that compute them."""
    spaces = ("box_width", "box_height")
    rows = images.lists("media_id", "path", "size", "height", "width", "url", "split", "source_name", *spaces)
    for place, (media_id, path, size, height, width, url, split, source, *space) in enumerate(rows):
        statements, metadata = images.statements.get(place, ()), images.metadata.get(place)
        yield {
            "media_id": media_id,
            "media_type": "image",
            "file_name": path.rpartition("/")[2],
            "file_path": path,
            "file_size": human_size(size),
            "height": height,
            "width": width,
            "url": url,
            "cluster_id": None,
            "uniqueness_score": None,
            "metadata_items": [
                *(_metadata_item(said, *space) for said in statements),
                *(_issue_item(issue) for issue in images.issues.get(place, ())),
            ],
            # Not in Visual Layer's format, and only where there is something to say.
            **({"split": split} if split else {}),
            **({"source_name": source} if source != MAIN_SOURCE else {}),
            **({"metadata": metadata} if metadata else {}),
        }


def _metadata_item(said: Statement, width: int, height: int) -> dict[str, Any]:
    """`width`, `height`: of the picture that the box lies in."""
    if said.kind == "caption":
        return {"type": "caption", "properties": {"text": said.text, "source": "User"}}
    label = {"category_name": said.text, "source": "User", "original_id": -1}
    if said.kind == "label":
        return {"type": "image_label", "properties": label}
    properties: dict[str, Any] = {"bbox": whole_pixels(said.box, width, height), **label}
    if said.crop:
        properties["url"] = said.crop_url
    if said.metadata:
        properties["metadata"] = said.metadata
    return {"type": "object_label", "properties": {**properties, "metadata_items": []}}


def _issue_item(issue: Issue) -> dict[str, Any]:
    properties: dict[str, Any] = {"issue_type": issue.kind, "confidence": round(issue.confidence, 4)}
    if issue.group_id:
        properties["issue_type"] = "duplicates"
        properties["duplicate_group_id"] = str(UUID(issue.group_id))
        properties["duplicate_threshold"] = round(issue.threshold, 4)
    return {"type": "issue", "properties": properties}


def whole_pixels(box: Box, width: int, height: int) -> list[int]:
    """A box as x, y, width, height, each rounded; at least one pixel each way, and in a picture of that size if the box
    is. 0 = the picture's size is not known."""
    x, wide = _whole(box.x, box.width, width)
    y, high = _whole(box.y, box.height, height)
    return [x, y, wide, high]


def _whole(start: float, length: float, limit: int) -> tuple[int, int]:
    whole = max(1, round(length))
    begin = round(start)
    return (min(begin, limit - whole) if limit and start + length <= limit and whole <= limit else begin), whole


def human_size(size: int) -> str:
    """Two decimals and a unit of 1,024, as the format has it: `48.96KB`."""
    amount = float(size)
    for unit in ("B", "KB", "MB", "GB"):
        if amount < 1024:
            return f"{amount:.2f}{unit}"
        amount /= 1024
    return f"{amount:.2f}TB"
