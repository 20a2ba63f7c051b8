"""WebDataset: shards of about 1 GB with each image and a JSON file of what is said of it.

https://github.com/webdataset/webdataset. `webdataset/shard-000000.tar`, `…-000001.tar` and so on, samples in the order
of paths; `webdataset/index.json` lists the shards and their samples (https://webdataset.github.io/webdataset/wids/). A
sample is named by its media id, since a path may hold dots, which the format takes for the start of a suffix.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import orjson

from imagehaul.entity import Entity
from imagehaul.exports.archive import TarStream
from imagehaul.exports.export import About, Exported, ExportFiles

SHARD = 1_000_000_000
"""Bytes, at least, of all shards but the last."""
READ_AT_ONCE = 64_000_000
"""Bytes that are held in memory, unless one image alone is larger."""
IMAGES_AT_ONCE = 500
_READERS = 8
_SUFFIXES = {"image/jpeg": "jpg", "image/tiff": "tif", "image/svg+xml": "svg", "image/x-ms-bmp": "bmp"}


class WebDataset:
    """`thumbnails`: shards hold the thumbnails where there are any, and not the originals."""

    def __init__(self, about: About, files: ExportFiles, thumbnails: bool = False) -> None:
        self._about, self._files, self._thumbnails = about, files, thumbnails
        self._folder = "webdataset-thumbnails/" if thumbnails else "webdataset/"
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="webdataset")
        self._waiting: list[Entity] = []
        self._bytes = 0
        self._shard: tuple[BinaryIO, TarStream] | None = None
        self._samples = 0
        self._shards: list[dict[str, Any]] = []
        self._left_out: Counter[str] = Counter()

    def write(self, entity: Entity) -> None:
        if self._thumbnails and not entity.thumbnail:
            self._left_out["images without a thumbnail"] += 1
            return
        if self._waiting and (self._bytes + entity.size > READ_AT_ONCE or len(self._waiting) == IMAGES_AT_ONCE):
            self._write_waiting()
        self._waiting.append(entity)
        self._bytes += entity.size

    def close(self) -> Exported:
        self._write_waiting()
        self._end_shard()
        self._readers.shutdown()
        with self._files.create() as index:
            content = {"wids_version": 1, "name": self._about.dataset, "shardlist": self._shards}
            index.write(orjson.dumps(content, option=orjson.OPT_INDENT_2))
            self._files.send(index, f"{self._folder}index.json")
        return Exported(self._folder, self._left_out)

    def _write_waiting(self) -> None:
        keys = [entity.thumbnail if self._thumbnails else entity.key for entity in self._waiting]
        for entity, content in zip(self._waiting, self._readers.map(self._files.read, keys), strict=True):
            self._write_sample(entity, content)
        self._waiting, self._bytes = [], 0

    def _write_sample(self, entity: Entity, content: bytes) -> None:
        if self._shard is None:
            file = self._files.create()
            self._shard = file, TarStream(file)
        _, archive = self._shard
        archive.add(f"{entity.media_id}.{self._suffix(entity)}", content)
        archive.add(f"{entity.media_id}.json", orjson.dumps(self._described(entity)))
        self._samples += 1
        if archive.size >= SHARD:
            self._end_shard()

    def _end_shard(self) -> None:
        if self._shard is None:
            return
        file, archive = self._shard
        archive.close()
        name = f"shard-{len(self._shards):06d}.tar"
        self._shards.append({"url": name, "nsamples": self._samples, "filesize": archive.size})
        self._files.send(file, self._folder + name)
        self._shard, self._samples = None, 0

    def _suffix(self, entity: Entity) -> str:
        if self._thumbnails:
            return entity.thumbnail.rpartition(".")[2]
        return _SUFFIXES.get(entity.content_type) or entity.content_type.rpartition("/")[2] or "bin"

    def _described(self, entity: Entity) -> dict[str, Any]:
        return {
            "file_path": entity.path,
            "media_id": entity.media_id,
            "split": entity.split,
            "uri": self._about.addresses.uri(entity.key),
            "url": entity.image_url,
            "width": entity.box_width,
            "height": entity.box_height,
            "sha256": entity.sha256,
            "labels": entity.labels,
            "captions": entity.captions,
            "boxes": [
                {"label": said.text, "bbox": [said.box.x, said.box.y, said.box.width, said.box.height]}
                for said in entity.boxes
            ],
        }


def of_thumbnails(about: About, files: ExportFiles) -> WebDataset:
    return WebDataset(about, files, thumbnails=True)
