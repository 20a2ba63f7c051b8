"""Deliveries into the real store, as a test wants them: one call, and then a look at what lies there."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from imagehaul.delivery.batch_threads import in_threads
from imagehaul.delivery.chain import deliver
from imagehaul.delivery.jobs import BatchContext
from imagehaul.delivery.runners.in_process import InProcess
from imagehaul.delivery.runners.process_starter import ProcessStarter
from imagehaul.delivery.runners.processes import ProcessPool
from imagehaul.delivery.runners.registry import OpenRunner
from imagehaul.delivery.runners.runner import Runner
from imagehaul.delivery.summary import Summary
from imagehaul.records import BatchReference, Request
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store

COLOURS = ("red", "green", "blue", "orange", "purple", "teal")


def draw(file: Path, size: tuple[int, int] = (320, 240), seed: int = 0, **options: Any) -> bytes:
    """A picture with a coloured box whose place follows from the seed. Returns the file's bytes."""
    image = Image.new("RGB", size, "white")
    left = 10 + 7 * seed % max(size[0] // 2, 1)
    ImageDraw.Draw(image).rectangle((left, 20, left + 40, 60), fill=COLOURS[seed % len(COLOURS)])
    ImageDraw.Draw(image).text((5, 5), str(seed), fill="black")
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, **options)
    return file.read_bytes()


def in_this_process(
    settings: Settings,
    context: BatchContext,
    store: Store,
    starter: ProcessStarter,
    batches: Sequence[BatchReference],
) -> Runner:
    """Where a test changes what batches meet, they have to be in its own process."""
    return InProcess(context, store, starter.holds_until)


def in_two_processes(
    settings: Settings,
    context: BatchContext,
    store: Store,
    starter: ProcessStarter,
    batches: Sequence[BatchReference],
) -> Runner:
    """As a large delivery on two cores; a test has too few images for that."""
    return ProcessPool(context, store, starter, 2)


@dataclass
class Lines:
    """A progress that remembers what was said."""

    said: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    images: int = 0

    def stage(self, name: str) -> None:
        self.said.append(name)

    def say(self, line: str) -> None:
        self.said.append(line)

    def warn(self, line: str) -> None:
        self.warned.append(line)

    def expect(self, images: int, size: int, what: str = "images") -> None:
        self.images = 0

    def advance(self, images: int, size: int) -> None:
        self.images += images


@dataclass
class Target:
    """A data set in a bucket of its own."""

    store: Store
    bucket: str
    prefix: str = "pre/"
    dataset: str = "set"
    lines: Lines = field(default_factory=Lines)

    @property
    def root(self) -> str:
        return f"{self.prefix}{self.dataset}/"

    def deliver(
        self,
        source: Path | str,
        *,
        settings: dict[str, Any] | None = None,
        open_runner: OpenRunner = in_this_process,
        **request: Any,
    ) -> Summary:
        self.lines = Lines()
        chosen = Settings(remote_save=f"s3://{self.bucket}/{self.prefix}", **{"workers": 1, **(settings or {})})
        asked = Request(**{"dataset": self.dataset, "source": str(source), **request})
        return deliver(asked, chosen, self.store, in_threads, self.lines, open_runner=open_runner)

    def listed(self, below: str = "") -> list[str]:
        """Keys below the data set's root, without it."""
        root = self.root
        pages = self.store.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=root + below)
        return sorted(item["Key"].removeprefix(root) for page in pages for item in page.get("Contents", ()))

    def all_keys(self) -> list[str]:
        pages = self.store.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))

    def read(self, key: str) -> bytes:
        body: bytes = self.store.client().get_object(Bucket=self.bucket, Key=self.root + key)["Body"].read()
        return body

    def remove(self, key: str) -> None:
        self.store.client().delete_object(Bucket=self.bucket, Key=self.root + key)

    def stored(self) -> dict[str, bytes]:
        """The bytes of every image, thumbnail and crop, by key."""
        kept = ("images/", "thumbnails/", "crops/")
        return {key: self.read(key) for key in self.listed() if key.startswith(kept)}

    def head(self, key: str) -> dict[str, Any]:
        return dict(self.store.client().head_object(Bucket=self.bucket, Key=self.root + key))

    def open(self, key: str) -> Image.Image:
        return Image.open(io.BytesIO(self.read(key)))

    def current(self) -> dict[str, Any]:
        return dict(json.loads(self.read("current.json")))

    def ledger(self, run: str = "") -> list[dict[str, Any]]:
        run = run or self.current()["run"]
        rows: list[dict[str, Any]] = []
        for key in self.listed(f"runs/{run}/ledger/"):
            rows += pq.read_table(io.BytesIO(self.read(key))).to_pylist()
        return rows

    def metadata(self) -> dict[str, Any]:
        uri = self.current()["exports"]["json"]
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body = self.store.client().get_object(Bucket=bucket, Key=key)["Body"].read()
        return dict(json.loads(body))

    def media_item(self, path: str) -> dict[str, Any]:
        [item] = [item for item in self.metadata()["media_items"] if item["file_path"] == path]
        return dict(item)
