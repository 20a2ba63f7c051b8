"""Hugging Face: `metadata.parquet` with a column of image URIs, and `metadata.jsonl` for a local copy of the images.

`load_dataset("parquet", …).cast_column("image", Image())` reads the pictures from the store; `imagefolder` reads a
copy of the store's `images/` with `metadata.jsonl` put into it (https://huggingface.co/docs/datasets/image_dataset).
`objects` has one entry for each box, as the libraries' object detection examples have it: `bbox` as [x, y, width,
height] in pixels, `category` as its number in the sorted labels, and `label` as its text.
"""

from __future__ import annotations

from typing import Any

import orjson

from imagehaul.entity import Entity
from imagehaul.exports.export import About, Exported, ExportFiles
from imagehaul.exports.parquet_file import ParquetFile

FOLDER = "huggingface/"
ROWS_AT_ONCE = 2_000


class HuggingFace:
    def __init__(self, about: About, files: ExportFiles) -> None:
        from imagehaul.arrow import pa

        self._addresses = about.addresses
        self._numbers = {name: number for number, name in enumerate(about.classes)}
        self._files, self._lines = files, files.create()
        texts, floats = pa.list_(pa.string()), pa.list_(pa.float64())
        objects = pa.struct(
            [("bbox", pa.list_(floats)), ("category", pa.list_(pa.int64())), ("label", texts), ("area", floats)]
        )
        columns: list[tuple[str, Any]] = [
            (name, pa.string()) for name in ("image", "file_name", "image_id", "url", "split")
        ]
        columns += [("width", pa.int64()), ("height", pa.int64())]
        self._schema = pa.schema([*columns, ("labels", texts), ("captions", texts), ("objects", objects)])
        self._table = ParquetFile(files, self._schema)
        self._rows: list[dict[str, Any]] = []

    def write(self, entity: Entity) -> None:
        boxes = entity.boxes
        row = {
            "file_name": self._addresses.name(entity.key),
            "image_id": entity.media_id,
            "url": entity.image_url,
            "split": entity.split,
            "width": entity.box_width,
            "height": entity.box_height,
            "labels": entity.labels,
            "captions": entity.captions,
            "objects": {
                "bbox": [[said.box.x, said.box.y, said.box.width, said.box.height] for said in boxes],
                "category": [self._numbers[said.text] for said in boxes],
                "label": [said.text for said in boxes],
                "area": [said.box.width * said.box.height for said in boxes],
            },
        }
        self._lines.write(orjson.dumps(row) + b"\n")
        self._rows.append({**row, "image": self._addresses.uri(entity.key)})
        if len(self._rows) >= ROWS_AT_ONCE:
            self._write_rows()

    def close(self) -> Exported:
        self._write_rows()
        self._table.close(f"{FOLDER}metadata.parquet")
        self._files.send(self._lines, f"{FOLDER}metadata.jsonl")
        return Exported(FOLDER)

    def _write_rows(self) -> None:
        from imagehaul.arrow import pa

        if self._rows:
            self._table.write(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []
