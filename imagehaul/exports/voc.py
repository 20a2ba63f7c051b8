"""Pascal VOC: `voc.tar.gz` with an XML file for each image, and the list of the images of each split.

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf. A box stands as `xmin = x`, `xmax = x + width`, not
rounded: so `annotations/voc.py` reads it, and readers that want whole numbers round for themselves. Folders stay: an
image's `<filename>` is its path below the store's `images/`, and its annotation lies under the same path.
"""

from __future__ import annotations

from collections import Counter
from typing import BinaryIO
from xml.sax.saxutils import escape

from imagehaul.entity import Entity
from imagehaul.exports.archive import TarStream
from imagehaul.exports.export import About, Exported, ExportFiles
from imagehaul.exports.split_names import list_file, named_apart
from imagehaul.exports.stems import Stems
from imagehaul.exports.xml_text import fits_in_xml

NAME = "voc.tar.gz"
_IN_NONE = "all"
"""The list of the images that are in no split."""


class Voc:
    def __init__(self, about: About, files: ExportFiles) -> None:
        self._about, self._files, self._file = about, files, files.create()
        self._archive = TarStream(self._file, compressed=True)
        self._lists: dict[str, BinaryIO] = {}
        self._stems = Stems(about.addresses.full_paths)
        self._left_out: Counter[str] = Counter()

    def write(self, entity: Entity) -> None:
        name = self._about.addresses.name(entity.key)
        if not fits_in_xml(name) or "\n" in name or "\r" in name:
            self._left_out["images whose name XML cannot hold"] += 1
            return
        # The second of two pictures that differ in their suffix alone keeps it: `<filename>` names the picture.
        stem = self._stems.own_name(name)
        self._left_out["captions"] += len(entity.captions)
        self._left_out["labels of whole images"] += len(entity.labels)
        self._archive.add(f"Annotations/{stem}.xml", self._annotation(name, entity).encode())
        if entity.split not in self._lists:
            self._lists[entity.split] = self._files.create()
        self._lists[entity.split].write(f"{stem}\n".encode())

    def close(self) -> Exported:
        names = named_apart([split for split in self._lists if split], [_IN_NONE])
        for split, file in self._lists.items():
            self._archive.add_file(f"ImageSets/Main/{list_file(names.get(split, _IN_NONE))}", file)
        self._archive.close()
        self._files.send(self._file, NAME)
        return Exported(NAME, self._left_out)

    def _annotation(self, path: str, entity: Entity) -> str:
        objects = []
        for said in entity.boxes:
            if not fits_in_xml(said.text):
                self._left_out["boxes whose label XML cannot hold"] += 1
                continue
            box = said.box
            objects.append(
                f"  <object>\n    <name>{_text(said.text)}</name>\n    <pose>Unspecified</pose>\n"
                "    <truncated>0</truncated>\n    <difficult>0</difficult>\n"
                f"    <bndbox><xmin>{box.x!r}</xmin><ymin>{box.y!r}</ymin>"
                f"<xmax>{box.x + box.width!r}</xmax><ymax>{box.y + box.height!r}</ymax></bndbox>\n  </object>\n"
            )
        return (
            f"<annotation>\n  <folder></folder>\n  <filename>{_text(path)}</filename>\n"
            f"  <source><database>{_text(self._about.dataset)}</database><image>{_text(entity.image_url)}</image>"
            f"<uri>{_text(self._about.addresses.uri(entity.key))}</uri></source>\n"
            f"  <size><width>{entity.box_width}</width><height>{entity.box_height}</height></size>\n"
            f"  <segmented>0</segmented>\n{''.join(objects)}</annotation>\n"
        )


def _text(text: str) -> str:
    return escape(text, {"\r": "&#13;"})
