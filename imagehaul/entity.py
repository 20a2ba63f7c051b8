"""What exports are made of: an image of the data set with all that is known and said of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from imagehaul.layout import MAIN_SOURCE, Layout
from imagehaul.mapping import IN_PLACE, url_of
from imagehaul.records import Box

if TYPE_CHECKING:
    from imagehaul.arrow import pa

MEASURES = ("phash", "brightness", "contrast", "sharpness", "entropy")
_ENCODED = re.compile(r"[^A-Za-z0-9_.~/-]")
"""What a URL does not show as it is; the key of an original that stays where it is has a colon."""


@dataclass(frozen=True, slots=True)
class OriginalsInPlace:
    """Where originals of one source stay: `s3://bucket/prefix/`. Their URLs have a root of their own.

    `key_prefix`: as in `Mapping`.
    """

    root: str
    cdn_fullpath: str
    key_prefix: str = ""


@dataclass(frozen=True, slots=True)
class Addresses:
    """How a key becomes a URI and a URL.

    `serve_original`: the URL of an image is the original's even where there is a thumbnail. `full_paths`: names keep
    the source's folders, and so come in its order. `in_place`: where originals stay, of each source that has some.
    """

    layout: Layout
    cdn_fullpath: str
    serve_original: bool
    full_paths: bool = True
    in_place: tuple[OriginalsInPlace, ...] = ()

    def uri(self, key: str) -> str:
        return key if key.startswith(IN_PLACE) else self.layout.uri(key) if key else ""

    def name(self, key: str) -> str:
        """Of an image, in a local copy of the data set's `images/`: what the mapping made of its path."""
        if place := self._place_of(key):
            return place.key_prefix + key.removeprefix(place.root)
        return key.removeprefix(self.layout.images)

    def url(self, key: str) -> str:
        if key.startswith(IN_PLACE):
            below, place = key.removeprefix(IN_PLACE).partition("/")[2], self._place_of(key)
            return f"{place.cdn_fullpath.rstrip('/') if place else ''}/{quote(below, safe='/')}"
        return url_of(key, self.layout, self.cdn_fullpath) if key else ""

    def _place_of(self, key: str) -> OriginalsInPlace | None:
        """Of two roots that lie in each other, the inner one."""
        found = (place for place in self.in_place if key.startswith(place.root))
        return max(found, key=lambda place: len(place.root), default=None)

    def urls(self, keys: list[str]) -> list[str]:
        """The same for many: whether any of them has a byte to encode is found out for all at once."""
        if _ENCODED.search("".join(keys)):
            return [self.url(key) for key in keys]
        root = f"{self.cdn_fullpath.rstrip('/')}/"
        return [root + self.layout.below_remote_save(key) if key else "" for key in keys]


@dataclass(frozen=True, slots=True)
class Statement:
    """One annotation of one image: its box in pixels, and key and URL of its crop, "" where there is none.

    `metadata`: of a box, by the columns' names in the index.
    """

    kind: str
    text: str
    box: Box
    crop_id: str
    crop: str
    crop_url: str
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Issue:
    """What speaks against an image, such as `blur` or `near_duplicates`. `group_id`: of duplicates, "" for others."""

    kind: str
    confidence: float
    group_id: str
    threshold: float


@dataclass(frozen=True, slots=True)
class Reject:
    """One image of the source that was not delivered, and why."""

    path: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Entity:
    """One image of the export with what is said of it. `thumbnail`: its key, "" where there is none.

    `url` is what a UX shows: the thumbnail, or the image itself. `width`, `height`: pixels of the upright picture, 0
    where nobody could decode it; `box_width`, `box_height`: of the picture that the boxes lie in, as BOX_SPACE says.
    `split`: the part of the data set that it belongs to, such as train, "" where nothing says so. `metadata`: as above.
    `path` is one image's within the source `source_name`.
    """

    path: str
    media_id: str
    key: str
    format: str
    content_type: str
    width: int
    height: int
    box_width: int
    box_height: int
    size: int
    sha256: str
    thumbnail: str
    url: str
    image_url: str
    thumbnail_url: str
    statements: tuple[Statement, ...]
    split: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    phash: str = ""
    brightness: float = 0.0
    contrast: float = 0.0
    sharpness: float = 0.0
    entropy: float = 0.0
    issues: tuple[Issue, ...] = ()
    source_name: str = MAIN_SOURCE

    @property
    def measures(self) -> dict[str, Any]:
        """Empty where the image was not measured."""
        return {name: getattr(self, name) for name in MEASURES} if self.phash else {}

    @property
    def boxes(self) -> list[Statement]:
        return [said for said in self.statements if said.kind == "box"]

    @property
    def labels(self) -> list[str]:
        return [said.text for said in self.statements if said.kind == "label"]

    @property
    def captions(self) -> list[str]:
        return [said.text for said in self.statements if said.kind == "caption"]


@dataclass(frozen=True)
class Images:
    """Some images in a row, as columns: an export that needs no more spares itself a record for each.

    `columns`: those of `Entity` up to `thumbnail_url`, `split` and measures, by its names. `statements` and so on: by
    the image's place in the columns; an image that nobody says anything of has none.
    """

    columns: pa.Table
    statements: dict[int, tuple[Statement, ...]]
    metadata: dict[int, dict[str, Any]]
    issues: dict[int, tuple[Issue, ...]] = field(default_factory=dict)

    def lists(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """The values of these columns, image by image."""
        return zip(*(self.columns[name].to_pylist() for name in names), strict=True)

    def entities(self) -> Iterator[Entity]:
        names = self.columns.column_names
        for place, row in enumerate(self.lists(*names)):
            about: dict[str, Any] = dict(zip(names, row, strict=True))
            yield Entity(
                **about,
                statements=self.statements.get(place, ()),
                metadata=self.metadata.get(place, {}),
                issues=self.issues.get(place, ()),
            )
