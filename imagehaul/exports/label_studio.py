"""Label Studio: `tasks.json` to import, and `config.xml`, the labeling interface that its tasks are for.

https://labelstud.io/guide/tasks#Basic-Label-Studio-JSON-format. Boxes are in percent of the picture. Label Studio shows
the picture by its URL: CDN_FULLPATH has to be one that its users' browsers reach.
"""

from __future__ import annotations

from collections import Counter
from typing import Any
from xml.sax.saxutils import quoteattr

import orjson

from imagehaul.entity import Entity, Statement
from imagehaul.exports.export import About, Exported, ExportFiles
from imagehaul.exports.xml_text import fits_in_xml

FOLDER = "label-studio/"


class LabelStudio:
    def __init__(self, about: About, files: ExportFiles) -> None:
        self._about, self._files, self._file = about, files, files.create()
        self._choices: set[str] = set()
        self._between = b"[\n"
        self._left_out: Counter[str] = Counter()

    def write(self, entity: Entity) -> None:
        results = [self._result(number, said, entity) for number, said in enumerate(entity.statements, 1)]
        data = {
            "image": entity.image_url,
            "uri": self._about.addresses.uri(entity.key),
            "file_path": entity.path,
            "media_id": entity.media_id,
            "split": entity.split,
        }
        task = {"data": data, "annotations": [{"result": [result for result in results if result]}]}
        self._file.write(self._between + orjson.dumps(task))
        self._between = b",\n"

    def close(self) -> Exported:
        self._file.write(b"\n]\n" if self._between == b",\n" else b"[]\n")
        self._files.send(self._file, f"{FOLDER}tasks.json")
        config = self._files.create()
        config.write(self._interface().encode())
        self._files.send(config, f"{FOLDER}config.xml")
        return Exported(FOLDER, self._left_out)

    def _result(self, number: int, said: Statement, entity: Entity) -> dict[str, Any] | None:
        head = {"id": f"{entity.media_id[:8]}-{number}", "to_name": "image"}
        if said.kind == "caption":
            return {**head, "type": "textarea", "from_name": "caption", "value": {"text": [said.text]}}
        if not fits_in_xml(said.text):  # The interface has to name it.
            what = "boxes whose label" if said.kind == "box" else "labels of whole images that"
            self._left_out[f"{what} XML cannot hold"] += 1
            return None
        if said.kind == "label":
            self._choices.add(said.text)
            return {**head, "type": "choices", "from_name": "class", "value": {"choices": [said.text]}}
        width, height, box = entity.box_width, entity.box_height, said.box
        if not width or not height:
            self._left_out["boxes on pictures of unknown size"] += 1
            return None
        value = {
            "x": 100 * box.x / width,
            "y": 100 * box.y / height,
            "width": 100 * box.width / width,
            "height": 100 * box.height / height,
            "rotation": 0,
            "rectanglelabels": [said.text],
        }
        return {
            **head,
            "type": "rectanglelabels",
            "from_name": "label",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": value,
        }

    def _interface(self) -> str:
        boxes = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in filter(fits_in_xml, self._about.classes))
        choices = "".join(f"    <Choice value={quoteattr(name)}/>\n" for name in sorted(self._choices))
        return (
            '<View>\n  <Image name="image" value="$image"/>\n'
            f'  <RectangleLabels name="label" toName="image">\n{boxes}  </RectangleLabels>\n'
            + (f'  <Choices name="class" toName="image" choice="multiple">\n{choices}  </Choices>\n' if choices else "")
            + '  <TextArea name="caption" toName="image" editable="true"/>\n</View>\n'
        )
