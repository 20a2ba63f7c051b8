"""The index of a large data set is written from beginning to end, and held nowhere as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

_LARGE = """
import resource, sys
from pathlib import Path
from imagehaul.arrow import keep_arrow_small
keep_arrow_small()
from imagehaul.delivery.exporting import export_all
from imagehaul.entity import Addresses
from imagehaul.ledger.catalog import Catalog
from imagehaul.layout import Layout

folder = Path(sys.argv[1])
catalog = Catalog(folder)
catalog.fill('proven', '''SELECT * EXCLUDE (published, i) REPLACE (
    'folder/picture ' || i || '.jpg' AS source_path, 'image' AS kind, 'd/images/picture ' || i || '.jpg' AS key,
    'delivered' AS status, uuid()::VARCHAR AS media_id, 640 AS width, 480 AS height, 'main' AS source_name)
    FROM range(100000) r(i) LEFT JOIN prior ON FALSE''')
catalog.execute('''UPDATE proven SET format = 'JPEG', content_type = 'image/jpeg', orientation = 1, size = 1,
    sha256 = '5a' ''')
catalog.fill('annotation', '''SELECT source_path AS path, 'label' AS kind, 'bird' AS text,
    0.0 AS x, 0.0 AS y, 0.0 AS width, 0.0 AS height, FALSE AS fraction, '' AS crop_id, TRUE AS usable, 0 AS ordinal
    FROM proven''')
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
addresses = Addresses(Layout('b', '', 'd'), '/image', False)
export_all(catalog, addresses, 'upright', (), '', folder,
           lambda file, name: (folder / name).hardlink_to(file), str.encode)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
catalog.close()
print(before // 1024, after // 1024)
"""


@pytest.mark.usefixtures("untraced")
def test_memory_does_not_grow_with_the_data_set(tmp_path: Path) -> None:
    """100,000 images with a label each are 60 MB of JSON, and many times that as Python's objects."""
    done = subprocess.run(
        [sys.executable, "-c", _LARGE, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    before, after = map(int, done.stdout.split())
    assert after - before < 150
    content = orjson.loads((tmp_path / "metadata.json").read_bytes())
    assert len(content["media_items"]) == content["info"]["total_media_items"] == 100_000
