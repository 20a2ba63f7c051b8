"""All exports of a simulated data set: rows as a run has proven them, and no pictures. Prints one line of JSON.

Each image has a thumbnail, a box, a label, a caption, a split and measures; one in a hundred has the same bytes as
another. An object's bytes are its key, so that WebDataset's shards are small. In a process of its own, for the peak.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import get_args

from imagehaul.delivery.exporting import export_all
from imagehaul.entity import Addresses
from imagehaul.layout import Layout
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.quality import Thresholds, find_issues
from imagehaul.records import ExportName

_PROVEN = """
    SELECT path AS source_path, kind, 'delivered' AS status, 'etag' AS proof, uuid()::VARCHAR AS media_id,
        'birds/' || kind || 's/' || path || CASE kind WHEN 'image' THEN '' ELSE '.jpg' END AS key,
        640 AS width, 480 AS height, 1 AS orientation, 'JPEG' AS format, 'image/jpeg' AS content_type, 50000 AS size,
        sha256(same::VARCHAR) AS sha256, md5(same::VARCHAR) AS phash, 0.5 AS brightness, 0.2 AS contrast,
        30.0 AS sharpness, 7.0 AS entropy
    FROM (SELECT printf('camera %03d/%s/IMG_%08d.jpg', i // 1000, ['train', 'val', 'test'][1 + i % 3], i) AS path,
                 CASE WHEN i % 100 = 1 THEN i - 1 ELSE i END AS same FROM range($count) images(i)),
         (SELECT unnest(['image', 'thumbnail']) AS kind)
"""
_SAID = """
    SELECT source_path AS path, said.kind, said.text || hash(source_path) % 40 AS text, ordinal, 'id' AS crop_id,
        64::DOUBLE AS x, 48::DOUBLE AS y, 320::DOUBLE AS width, 240::DOUBLE AS height, FALSE AS fraction, TRUE AS usable
    FROM proven, (VALUES ('box', 'bird ', 0), ('label', 'scene ', 1), ('caption', 'Bird ', 2)) said(kind, text, ordinal)
    WHERE proven.kind = 'image'
"""
_SPLITS = "SELECT source_path AS path, split_part(source_path, '/', 2) AS split FROM proven WHERE kind = 'image'"


def exported(count: int, folder: Path) -> int:
    """Bytes of all exports."""
    size = 0

    def send(file: Path, name: str) -> None:
        nonlocal size
        size += file.stat().st_size

    with closing(Catalog(folder)) as catalog:
        catalog.fill("proven", _PROVEN, {"count": count})
        catalog.fill("annotation", _SAID)
        catalog.fill("image_split", _SPLITS)
        find_issues(catalog, Thresholds(10, 0.08, 0.92, 0.15), measures=True)
        names = get_args(ExportName)
        addresses = Addresses(Layout("bucket", "", "birds"), "/image", serve_original=False)
        export_all(catalog, addresses, "upright", names, "", folder, send, str.encode)
    return size


def main(count: int, folder: Path) -> None:
    folder.mkdir(parents=True)
    began = time.monotonic()
    size = exported(count, folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds, cpu = time.monotonic() - began, time.process_time()
    print(json.dumps({"images": count, "seconds": seconds, "cpu": cpu, "peak": peak, "bytes": size}))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
