"""COCO: `instances_<split>.json` with the boxes, and `captions_<split>.json` where there are captions.

https://cocodataset.org/#format-data. `coco_url` is the image's URL, `uri` its place in the store; ids count from 1 in
the order of paths. Boxes are `[x, y, width, height]` in pixels, as annotated.
"""

from __future__ import annotations

import shutil
from collections import Counter
from typing import Any
from urllib.parse import quote

import orjson

from imagehaul.entity import Entity
from imagehaul.exports.export import About, Exported, ExportFiles

FOLDER = "coco/"


class Coco:
    def __init__(self, about: About, files: ExportFiles) -> None:
        self._about, self._files = about, files
        self._ids = {name: number for number, name in enumerate(about.classes, 1)}
        self._splits: dict[str, _Split] = {}
        self._images = self._boxes = self._captions = 0
        self._left_out: Counter[str] = Counter()

    def write(self, entity: Entity) -> None:
        if entity.split not in self._splits:
            self._splits[entity.split] = _Split(self._files)
        split = self._splits[entity.split]
        self._images += 1
        split.images.add(
            {
                "id": self._images,
                "file_name": self._about.addresses.name(entity.key),
                "width": entity.box_width,
                "height": entity.box_height,
                "coco_url": entity.image_url,
                "uri": self._about.addresses.uri(entity.key),
            }
        )
        for said in entity.boxes:
            self._boxes += 1
            box = said.box
            split.boxes.add(
                {
                    "id": self._boxes,
                    "image_id": self._images,
                    "category_id": self._ids[said.text],
                    "bbox": [box.x, box.y, box.width, box.height],
                    "area": box.width * box.height,
                    "iscrowd": 0,
                    "segmentation": [],
                }
            )
        for text in entity.captions:
            self._captions += 1
            split.captions.add({"id": self._captions, "image_id": self._images, "caption": text})
        self._left_out["labels of whole images"] += len(entity.labels)

    def close(self) -> Exported:
        info = {
            "description": self._about.dataset,
            "contributor": self._about.software,
            "date_created": self._about.time,
        }
        categories = [{"id": number, "name": name} for name, number in self._ids.items()]
        # A data set without an image is a whole file, too.
        for name, split in (self._splits or {"": _Split(self._files)}).items():
            head = {"info": info, "licenses": [], "categories": categories}
            self._put_together(_file_name("instances", name), head, split.images, split.boxes)
            if split.captions.count:
                self._put_together(
                    _file_name("captions", name), {"info": info, "licenses": []}, split.images, split.captions
                )
        return Exported(FOLDER, self._left_out)

    def _put_together(self, name: str, head: dict[str, Any], images: _Items, annotations: _Items) -> None:
        with self._files.create() as whole:
            whole.write(orjson.dumps(head)[:-1])
            for field, items in (("images", images), ("annotations", annotations)):
                whole.write(b',"%s":[' % field.encode())
                items.copy_to(whole)
                whole.write(b"]")
            whole.write(b"}\n")
            self._files.send(whole, name)


class _Items:
    """Entries of a JSON list, kept on the disk until their file is put together."""

    def __init__(self, files: ExportFiles) -> None:
        self._file = files.create()
        self.count = 0

    def add(self, item: dict[str, Any]) -> None:
        self._file.write((b",\n" if self.count else b"\n") + orjson.dumps(item))
        self.count += 1

    def copy_to(self, whole: Any) -> None:
        self._file.seek(0)
        shutil.copyfileobj(self._file, whole, 1 << 20)


class _Split:
    def __init__(self, files: ExportFiles) -> None:
        self.images, self.boxes, self.captions = _Items(files), _Items(files), _Items(files)


def _file_name(stem: str, split: str) -> str:
    """`coco/instances_train.json`, or `coco/instances.json` where the data set is not split."""
    return f"{FOLDER}{stem}{'_' if split else ''}{quote(split, safe='')}.json"
