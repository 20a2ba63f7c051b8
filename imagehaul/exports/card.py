"""`card.md`: what the data set holds, where it comes from, how it was proven and what was left out, for people.

Markdown that is harmless with names and labels of others in it: see `imagehaul/markdown.py`.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from imagehaul.entity import Entity
from imagehaul.errors import Code
from imagehaul.exports.export import About, Exported, ExportFiles
from imagehaul.markdown import cell, table
from imagehaul.progress import human_bytes

NAME = "card.md"
MOST_LABELS = 100
"""So many stand in the table, the most frequent; the card says how many there are."""
SIZES = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
"""Pixels of the longer side, at which the table of sizes is cut."""
_PROOFS = {
    "etag-md5": "the store's ETag is the MD5 of the bytes",
    "etag-multipart": "the store's ETag follows from the bytes of the parts",
    "etag-of-source": "copied by the store, with the ETag of its source",
    "etag-known": "the ETag of an earlier proof",
    "checksum": "the store answers with the SHA-256 of the bytes",
    "read-back": "the bytes were read back and compared",
    "in-place": "the source lists size and ETag still",
}


class Card:
    def __init__(self, about: About, files: ExportFiles) -> None:
        self._about, self._files = about, files
        self._bytes = self._boxes = self._captions = 0
        self._formats: Counter[str] = Counter()
        self._splits: Counter[str] = Counter()
        self._sizes: Counter[int] = Counter()
        self._images_with: Counter[str] = Counter()
        self._boxes_of: Counter[str] = Counter()

    def write(self, entity: Entity) -> None:
        self._bytes += entity.size
        self._formats[entity.format] += 1
        self._splits[entity.split] += 1
        self._sizes[_size_class(max(entity.width, entity.height))] += 1
        boxes = [box.text for box in entity.boxes]
        self._boxes += len(boxes)
        self._boxes_of.update(boxes)
        self._images_with.update({*boxes, *entity.labels})
        self._captions += len(entity.captions)

    def close(self) -> Exported:
        with self._files.create() as file:
            file.write(("\n".join(self._lines()) + "\n").encode())
            self._files.send(file, NAME)
        return Exported(NAME)

    def _lines(self) -> Iterator[str]:
        about = self._about
        yield from (f"# {cell(about.dataset)}", "")
        held = [(about.images, "image"), (self._boxes, "box"), (self._captions, "caption")]
        said = ", ".join(_some(count, what) for count, what in held if count) or "No images"
        yield from (f"{said}; {human_bytes(self._bytes)} of originals.", "")
        yield from _section("Where it comes from", ("", ""), self._origin())
        yield from _section("Splits", ("split", "images"), _counted(self._splits, "in none"))
        labels, more = self._images_with.most_common(MOST_LABELS), len(self._images_with) - MOST_LABELS
        rows = [(cell(text), f"{images:,}", f"{self._boxes_of[text]:,}") for text, images in labels]
        rows += [(f"and {more:,} more", "", "")] if more > 0 else []
        yield from _section("Labels", ("label", "images", "boxes"), rows)
        yield from _section("Formats", ("format", "images"), _counted(self._formats, "no known picture"))
        yield from _section("Sizes", ("longer side", "images"), self._size_rows())
        proofs = sorted(about.proofs.items(), key=lambda item: -item[1])
        rows = [(cell(proof), f"{images:,}", _PROOFS.get(proof, "")) for proof, images in proofs]
        yield from _section("How the images were proven to be in the store", ("proof", "images", "meaning"), rows)
        yield from _section("Left out", ("code", "images", "for example", "meaning"), self._rejected())
        if about.origin.quality:
            yield from ("## Quality", "", *(f"- {cell(line)}" for line in about.origin.quality), "")

    def _origin(self) -> Iterator[tuple[str, str]]:
        about = self._about
        for source in about.origin.sources:
            yield "source", cell(source)
        layout = about.addresses.layout
        yield "store", cell(layout.uri(layout.root))
        yield "run", cell(about.origin.run)
        yield "first published", _time(about.created)
        yield "this publication", _time(about.time)
        yield "made by", cell(about.software)

    def _size_rows(self) -> list[tuple[str, str]]:
        names = ["not known", *_size_names()]
        return [(names[place], f"{images:,}") for place, images in sorted(self._sizes.items())]

    def _rejected(self) -> Iterator[tuple[str, ...]]:
        codes: Counter[str] = Counter()
        examples: dict[str, str] = {}
        for reject in self._about.rejects():
            codes[reject.code] += 1
            examples.setdefault(reject.code, reject.path)
        for name, images in codes.most_common():
            code = Code.named(name)
            yield cell(name), f"{images:,}", cell(examples[name]), code.meaning if code else ""


def _section(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Nothing where there are no rows."""
    rows = list(rows)
    return [f"## {title}", "", table(columns, rows), ""] if rows else []


def _counted(counts: Counter[str], nameless: str) -> list[tuple[str, str]]:
    """The most frequent first; no table where nothing has a name."""
    if not any(counts):
        return []
    return [(cell(name) if name else nameless, f"{count:,}") for name, count in counts.most_common()]


def _time(iso: str) -> str:
    """As it is: it means nothing in Markdown."""
    return iso if re.fullmatch(r"[\dT:+-]+", iso) else cell(iso)


def _some(count: int, what: str) -> str:
    many = f"{what}es" if what.endswith("x") else f"{what}s"
    return f"{count:,} {what if count == 1 else many}"


def _size_class(longer: int) -> int:
    """0 where the size is not known, else the place in `_size_names` + 1."""
    return 1 + sum(longer >= edge for edge in SIZES) if longer else 0


def _size_names() -> list[str]:
    between = [f"{low:,} to {high - 1:,} px" for low, high in itertools.pairwise(SIZES)]
    return [f"below {SIZES[0]} px", *between, f"{SIZES[-1]:,} px and more"]
