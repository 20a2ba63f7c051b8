"""Originals that stay where they are: nothing of them is sent, and through a real nginx their URLs give their bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from imagehaul.serving.nginx import serving
from imagehaul.settings import Settings
from imagehaul.sources.stored_objects import HEADER_BYTES
from imagehaul.store.endpoint import Store
from tests.serving.test_nginx import needs_nginx, port, running
from tests.support.delivering import Target
from tests.support.fault_proxy import Exchange, FaultProxy

__all__ = ["port"]
NAMES = ("a.jpg", "b c.jpg", "ü/100%.jpg", "d/e/f.png")


@dataclass
class RequestLog:
    """What reaches the store: method, key, and whether it is a copy or asks for a part."""

    lines: list[tuple[str, str, bool, bool]] = field(default_factory=list)

    def __call__(self, exchange: Exchange) -> None:
        copies, part = "x-amz-copy-source" in exchange.headers, "Range" in exchange.headers
        self.lines.append((exchange.method, exchange.key, copies, part))

    def put(self, below: str) -> list[str]:
        return sorted(key for method, key, *_ in self.lines if method in ("PUT", "POST") and below in key)

    def read_whole(self, below: str) -> list[str]:
        return [key for method, key, _, part in self.lines if method == "GET" and key.startswith(below) and not part]

    @property
    def copies(self) -> list[str]:
        return [key for _, key, copies, _ in self.lines if copies]


def noise(file: Path) -> bytes:
    """A picture that is larger than the beginning that is read of one of which nothing is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((640, 480), 80).save(file)
    assert file.stat().st_size > HEADER_BYTES
    return file.read_bytes()


@needs_nginx
@pytest.mark.parametrize("thumbnails", [True, False])
def test_only_thumbnails_are_written_and_every_url_gives_the_sources_bytes(
    tmp_path: Path, store: Store, bucket: str, port: int, thumbnails: bool
) -> None:
    source = f"{bucket}-source"
    store.client().create_bucket(Bucket=source)
    originals = {name: noise(tmp_path / "drawn" / name) for name in NAMES}
    for name, content in originals.items():
        store.client().put_object(Bucket=source, Key=f"in/{name}", Body=content)
    settings: dict[str, Any] = {
        "originals": "in_place",
        "serve_original_image": True,
        "skip_image_thumbnail_generation": not thumbnails,
    }
    target, log = Target(store, bucket), RequestLog()
    with FaultProxy(store, log) as proxy:
        summary = replace(target, store=proxy.store).deliver(f"s3://{source}/in", settings=settings)
    assert (summary.counts.delivered, summary.counts.objects) == (4, 4 if thumbnails else 0)
    assert log.put("/images/") == log.copies == []
    assert log.put("in/") == []
    assert len(log.put("/thumbnails/")) == (4 if thumbnails else 0)
    assert thumbnails or log.read_whole("in/") == []

    chosen = Settings(remote_save=f"s3://{bucket}/{target.prefix}", **settings)
    nginx = serving(chosen, store, f"127.0.0.1:{port}", source=f"s3://{source}/in")
    [statement] = json.loads(nginx.policy)["Statement"]
    for name in (bucket, source):
        own = [resource for resource in statement["Resource"] if resource.split(":::")[1].startswith(f"{name}/")]
        policy = {**json.loads(nginx.policy), "Statement": [{**statement, "Resource": own}]}
        store.client().put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
    with running(nginx.configuration, tmp_path, port) as ask:
        for item in target.metadata()["media_items"]:
            answer = ask(urlsplit(item["url"]).path)
            assert (answer.status, answer.body) == (200, originals[item["file_path"]]), item["url"]


def test_a_path_in_the_stores_url_is_asked_for_as_well() -> None:
    store = Store("http://gateway.example.com:9000/s3%20api/")
    settings = Settings(remote_save="s3://bucket/p/", originals="in_place", source_cdn_fullpath="/original")
    text = serving(settings, store, source="s3://elsewhere/in/").configuration
    assert "server gateway.example.com:9000;" in text
    assert '"/s3%20api/bucket/p/$imagehaul_key"' in text
    assert '"/s3%20api/elsewhere/$imagehaul_original"' in text
    assert "proxy_set_header Host gateway.example.com:9000;" in text
