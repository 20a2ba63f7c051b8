"""CSV for spreadsheets and databases: `csv/images.csv`, and `csv/objects.csv` with a line for each box.

A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a line break for a formula, which may read
files or call home: such a text gets an apostrophe before it. https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from imagehaul.entity import Entity
from imagehaul.exports.export import About, Exported, ExportFiles

FOLDER = "csv/"
IMAGE_COLUMNS = (
    *("media_id", "file_path", "split", "uri", "url", "thumbnail_uri", "thumbnail_url", "format", "width", "height"),
    *("file_size", "sha256", "labels", "captions"),
)
"""`labels` and `captions` are JSON lists."""
OBJECT_COLUMNS = (
    *("object_id", "media_id", "file_path", "split", "label", "box_x", "box_y", "box_width", "box_height"),
    *("crop_uri", "crop_url"),
)
_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class Csv:
    def __init__(self, about: About, files: ExportFiles) -> None:
        self._addresses = about.addresses
        self._files = files
        self._images, self._objects = _Table(files, IMAGE_COLUMNS), _Table(files, OBJECT_COLUMNS)

    def write(self, entity: Entity) -> None:
        uri = self._addresses.uri
        self._images.add(
            (
                *(entity.media_id, entity.path, entity.split, uri(entity.key), entity.image_url),
                *(uri(entity.thumbnail), entity.thumbnail_url, entity.format, entity.width, entity.height),
                *(entity.size, entity.sha256, _list(entity.labels), _list(entity.captions)),
            )
        )
        for said in entity.boxes:
            box = said.box
            self._objects.add(
                (
                    *(f"{entity.media_id}/{said.crop_id}", entity.media_id, entity.path, entity.split, said.text),
                    *(box.x, box.y, box.width, box.height, uri(said.crop), said.crop_url),
                )
            )

    def close(self) -> Exported:
        self._images.send(f"{FOLDER}images.csv")
        self._objects.send(f"{FOLDER}objects.csv")
        return Exported(FOLDER)


class _Table:
    def __init__(self, files: ExportFiles, columns: Sequence[str]) -> None:
        self._files, self._file = files, files.create()
        self._text = io.TextIOWrapper(self._file, encoding="utf-8", newline="", write_through=False)
        # As RFC 4180 has it. Before Python 3.13 a carriage return in a text is quoted for lines that end in one alone.
        self._writer = csv.writer(self._text, lineterminator="\r\n")
        self._writer.writerow(columns)

    def add(self, cells: Sequence[str | int | float]) -> None:
        self._writer.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in cells])

    def send(self, name: str) -> None:
        self._text.flush()
        self._files.send(self._file, name)


def _list(texts: list[str]) -> str:
    return json.dumps(texts, ensure_ascii=False)


def harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_STARTS_A_FORMULA) else text
