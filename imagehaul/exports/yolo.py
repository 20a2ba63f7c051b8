"""YOLO: `yolo.tar.gz` with `data.yaml`, a label file for each image, and the list of the images of each split.

https://docs.ultralytics.com/datasets/detect/. Unpack it, and put the images of the store's `images/` into a folder
`images` beside `labels`. A box is `class x-center y-center width height` in shares of the picture, cut to it: readers
take a label file with a share beyond 1 for broken.
"""

from __future__ import annotations

from collections import Counter
from typing import BinaryIO

from imagehaul.entity import Entity
from imagehaul.exports.archive import TarStream
from imagehaul.exports.export import About, Exported, ExportFiles
from imagehaul.exports.split_names import list_file, named_apart
from imagehaul.exports.stems import Stems
from imagehaul.records import Box

NAME = "yolo.tar.gz"
_PARTS = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}
"""What `data.yaml` calls the splits that have other names elsewhere."""
_KEYS = frozenset({"path", "nc", "names", "channels", "download", "yaml_file", "kpt_shape", "flip_idx"})
"""What Ultralytics looks up in `data.yaml` besides splits."""


class Yolo:
    def __init__(self, about: About, files: ExportFiles) -> None:
        self._files, self._file = files, files.create()
        self._archive = TarStream(self._file, compressed=True)
        self._numbers = {name: number for number, name in enumerate(about.classes)}
        self._lists: dict[str, BinaryIO] = {}
        self._addresses = about.addresses
        self._stems = Stems(about.addresses.full_paths)
        self._left_out: Counter[str] = Counter()

    def write(self, entity: Entity) -> None:
        name = self._addresses.name(entity.key)
        stem = self._stems.stem_of(name)
        if stem is None:
            self._left_out["images whose name differs from another's in the suffix alone"] += 1
            return
        if name.splitlines() != [name]:  # Readers part a list where Python does, at U+2028 too.
            self._left_out["images with a line break in their name"] += 1
            return
        self._left_out["captions"] += len(entity.captions)
        self._left_out["labels of whole images"] += len(entity.labels)
        lines = [line for said in entity.boxes if (line := self._line(said.text, said.box, entity))]
        lost = len(entity.boxes) - len(lines)
        self._left_out["boxes that lie outside of their picture, or on one of unknown size"] += lost
        self._archive.add(f"labels/{stem}.txt", "".join(lines).encode())
        part = _PARTS.get(entity.split, entity.split or "train")
        if part not in self._lists:
            self._lists[part] = self._files.create()
        self._lists[part].write(f"./images/{name}\n".encode())

    def close(self) -> Exported:
        lists = self._lists or {"train": self._files.create()}
        names = named_apart(lists, _KEYS)
        for part, file in lists.items():
            self._archive.add_file(list_file(names[part]), file)
        self._archive.add("data.yaml", self._description(list(names.values())))
        self._archive.close()
        self._files.send(self._file, NAME)
        return Exported(NAME, self._left_out)

    def _line(self, label: str, box: Box, entity: Entity) -> str:
        """An empty line where nothing of the box lies in the picture."""
        width, height = entity.box_width, entity.box_height
        left, right = max(box.x, 0.0), min(box.x + box.width, width)
        top, bottom = max(box.y, 0.0), min(box.y + box.height, height)
        if right <= left or bottom <= top:
            return ""
        center = (left + right) / 2 / width, (top + bottom) / 2 / height
        shares = (*center, (right - left) / width, (bottom - top) / height)
        return f"{self._numbers[label]} {' '.join(f'{share:.8f}' for share in shares)}\n"

    def _description(self, parts: list[str]) -> bytes:
        # Readers ask for train and val, whatever splits there are.
        named = {"train": "train" if "train" in parts else parts[0], "val": "val" if "val" in parts else parts[0]}
        named |= {part: part for part in parts}
        lines = [f"{_quoted(part)}: {_quoted(list_file(file))}" for part, file in named.items()]
        lines += [f"nc: {len(self._numbers)}", "names:" if self._numbers else "names: {}"]
        lines += [f"  {number}: {_quoted(name)}" for name, number in self._numbers.items()]
        return "".join(f"{line}\n" for line in lines).encode()


def _quoted(text: str) -> str:
    """For YAML 1.1, which Ultralytics reads, and 1.2 alike: without quotes `no` would be false, and `1.5` a number."""
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text) + '"'
