"""From a source path to key, media id and URL. Pure functions: the one place where names are decided."""

from __future__ import annotations

import posixpath
import uuid
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from imagehaul.errors import Code
from imagehaul.layout import MAIN_SOURCE, Layout
from imagehaul.records import Box

IN_PLACE = "s3://"
"""How the key of an original that stays where it is begins."""
MAX_KEY_BYTES = 1024
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://imagehaul.invalid/media")


@dataclass(frozen=True, slots=True)
class Mapping:
    """How the paths of one source become names.

    `path` is what each of the three folders in the store has in common for one image: `images/<path>`,
    `thumbnails/<path>.jpg`, `crops/<path>/<box id>.jpg`.

    `originals`: where they stay, `s3://bucket/prefix/`, "" = they are stored. The key of an original that stays is its
    whole URI, since it lies in another bucket than all others.
    `key_prefix`: before each name, "" or ending in `/`; an original that stays keeps its key.
    """

    layout: Layout
    transfer: Literal["keep_original_filename", "media_id"] = "keep_original_filename"
    full_path: bool = True
    normalize: bool = False
    thumbnail_suffix: Literal[".jpg", ".webp"] = ".jpg"
    originals: str = ""
    source_name: str = MAIN_SOURCE
    key_prefix: str = ""

    def media_id(self, source_path: str) -> str:
        """The same in every run, and another one in every data set and for every source of it."""
        # No path begins with "/": what another source holds never has an id of the main one.
        source = "" if self.source_name == MAIN_SOURCE else f"/{self.source_name}/"
        return str(uuid.uuid5(_NAMESPACE, f"{self.layout.dataset}/{source}{source_path}"))

    def path(self, source_path: str) -> str:
        # As it is: an empty part of a path is refused (`problem_of`), and not taken out, as `posixpath.split` does.
        folder, slash, name = source_path.rpartition("/")
        if self.transfer == "media_id":
            name = self.media_id(source_path) + posixpath.splitext(f"x{name}")[1]
        if self.normalize:
            # Always appended, so that a.png and a.jpg do not meet on a.jpg.
            name += ".jpg"
        return self.key_prefix + (folder + slash + name if self.full_path else name)

    @property
    def image_root(self) -> str:
        return self.originals or self.layout.images

    @property
    def image_start(self) -> int:
        """The place in a name, from 0, of what follows `image_root` in the image's key."""
        return len(self.key_prefix) if self.originals else 0

    def image_key(self, path: str) -> str:
        return self.image_root + path[self.image_start :]

    def thumbnail_key(self, path: str) -> str:
        return f"{self.layout.thumbnails}{path}{self.thumbnail_suffix}"

    def crop_key(self, path: str, box: Box) -> str:
        return f"{self.layout.crops}{path}/{box.id}.jpg"


def problem_of(key: str) -> str:
    """The code that says why no store can be given this key, "" where one can."""
    key = key.removeprefix(IN_PLACE)
    if len(key.encode()) > MAX_KEY_BYTES:
        return Code.KEY_TOO_LONG
    if not {"", ".", ".."}.isdisjoint(key.split("/")):
        return Code.NAME_UNSUPPORTED
    return ""


def url_of(key: str, layout: Layout, cdn_fullpath: str) -> str:
    """The address that a browser asks for: every byte but the unreserved ones and `/` percent-encoded."""
    return f"{cdn_fullpath.rstrip('/')}/{quote(layout.below_remote_save(key), safe='/')}"
