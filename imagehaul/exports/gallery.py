"""The gallery: a page of static files that shows the data set in a browser, from the store and with no server.

The index is cut into parts of `PART` images, gzip of JSON, which the page loads as it needs them and unpacks by itself:
`list/<n>` has in columns what the grid, search and filters need, `detail/<n>` what is shown of one image, `rejects/<n>`
what was not sent, and why. `facts.json` has what stands above the grid, and the names that the parts number. All URLs
are relative: the folder lies beside `images/`, `thumbnails/` and `crops/`, wherever those are served.
"""

from __future__ import annotations

import gzip
import html
from collections import Counter
from collections.abc import Iterable
from importlib import resources
from typing import Any
from urllib.parse import quote

import orjson

from imagehaul.entity import Entity, Statement
from imagehaul.exports.export import About, Exported, ExportFiles
from imagehaul.layout import GALLERY

PAGE = "index.html"
_BESIDE = ("gallery.css", "controls.js", "gallery.js")
PART = 1_000
LEVEL = 3
"""Of gzip. At 6, parts are 8 % smaller and take twice the time: most of them are hashes, which no level makes small."""
_FORMAT = 1
"""Of facts and parts; the page refuses another."""
_FIRST = 12
"""Pictures that every screen shows at first: the page itself asks for them, before it knows what the index says."""
_ROOT, _PLAIN = "../../../", "/!~*'()"
"""The data set's folder, and what a URL has as it is, as in `gallery.js`: else a picture would be loaded twice."""


class Gallery:
    def __init__(self, about: About, files: ExportFiles) -> None:
        self._about, self._files = about, files
        self._list: list[tuple[Any, ...]] = []
        self._details: list[dict[str, Any]] = []
        self._first: list[str] = []
        self._parts = self._bytes = self._objects = self._captions = 0
        self._formats, self._splits, self._labels, self._issues = _Numbered(), _Numbered(), _Numbered(), _Numbered()

    def write(self, entity: Entity) -> None:
        addresses = self._about.addresses
        name = addresses.name(entity.key)
        boxes, labels = entity.boxes, entity.labels
        said = dict.fromkeys([*(box.text for box in boxes), *labels])
        numbers = [self._labels.number(label) for label in said]
        self._list.append(
            (
                entity.path,
                name if name != entity.path else 0,
                entity.thumbnail.removeprefix(addresses.layout.thumbnails + name) if entity.thumbnail else "",
                self._formats.number(entity.format),
                self._splits.number(entity.split),
                numbers,
                entity.width,
                entity.height,
                entity.size,
                sum(1 << self._issues.number(issue.kind) for issue in entity.issues),
            )
        )
        self._details.append(self._detail(entity))
        if entity.thumbnail and len(self._first) < _FIRST:
            self._first.append(entity.thumbnail)
        self._bytes += entity.size
        self._objects += len(boxes)
        self._captions += len(entity.captions)
        if len(self._list) == PART:
            self._write_part()

    def close(self) -> Exported:
        if self._list or not self._parts:
            self._write_part()  # The page asks for the first part before it knows whether there is an image.
        rejected = self._write_rejects()
        facts = {
            "format": _FORMAT,
            "dataset": self._about.dataset,
            "software": self._about.software,
            "created": self._about.created,
            "time": self._about.time,
            "images": self._about.images,
            "objects": self._objects,
            "captions": self._captions,
            "bytes": self._bytes,
            "part": PART,
            "box_space": self._about.box_space,
            "formats": self._formats.counted(),
            "splits": self._splits.counted(),
            "labels": self._labels.counted(),
            "issues": self._issues.counted(),
            "rejected": rejected,
        }
        self._send("facts.json", orjson.dumps(facts))
        folder = resources.files("imagehaul.exports") / "gallery_page"
        for file in _BESIDE:
            self._send(file, (folder / file).read_bytes())
        self._send(PAGE, self._with_first((folder / PAGE).read_text("utf-8")).encode())
        return Exported(GALLERY + PAGE)

    def _with_first(self, page: str) -> str:
        layout = self._about.addresses.layout
        urls = (_ROOT + quote(key.removeprefix(layout.root), safe=_PLAIN) for key in self._first)
        links = (f'<link rel="preload" as="image" href="{html.escape(url)}">\n' for url in urls)
        return page.replace("</head>", f"{''.join(links)}</head>", 1)

    def _detail(self, entity: Entity) -> dict[str, Any]:
        return {
            "media_id": entity.media_id,
            "uri": self._about.addresses.uri(entity.key),
            "type": entity.content_type,
            "sha256": entity.sha256,
            "space": [entity.box_width, entity.box_height],
            "captions": entity.captions,
            "metadata": entity.metadata,
            "measures": entity.measures,
            "boxes": [self._box(said) for said in entity.boxes],
        }

    def _box(self, said: Statement) -> list[Any]:
        box, crops = said.box, self._about.addresses.layout.crops
        return [box.x, box.y, box.width, box.height, said.text, said.crop.removeprefix(crops)]

    def _write_part(self) -> None:
        columns = [list(column) for column in zip(*self._list, strict=True)]
        self._send(f"list/{self._parts:05d}.json.gz", _packed(columns))
        self._send(f"detail/{self._parts:05d}.json.gz", _packed(self._details))
        self._parts += 1
        self._list, self._details = [], []

    def _write_rejects(self) -> dict[str, Any]:
        codes: Counter[str] = Counter()
        part: list[tuple[str, str, str]] = []
        number = 0
        for reject in self._about.rejects():
            codes[reject.code] += 1
            part.append((reject.path, reject.code, reject.message))
            if len(part) == PART:
                self._send(f"rejects/{number:05d}.json.gz", _packed(part))
                number, part = number + 1, []
        if part:
            self._send(f"rejects/{number:05d}.json.gz", _packed(part))
        return {"images": codes.total(), "codes": codes.most_common()}

    def _send(self, name: str, content: bytes) -> None:
        file = self._files.create()
        file.write(content)
        self._files.send(file, GALLERY + name)


class _Numbered:
    """Names by the number of their first appearance, and how many images have each."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._counts: list[int] = []

    def number(self, name: str) -> int:
        number = self._numbers.setdefault(name, len(self._counts))
        if number == len(self._counts):
            self._counts.append(0)
        self._counts[number] += 1
        return number

    def counted(self) -> list[tuple[str, int]]:
        return list(zip(self._numbers, self._counts, strict=True))


def _packed(content: Iterable[Any]) -> bytes:
    return gzip.compress(orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS), LEVEL, mtime=0)
