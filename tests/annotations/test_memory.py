"""Memory stays flat, however much an annotation file says."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

_RESIDENT = """
import sys
from pathlib import Path
import psutil
from tests.support.annotating import read_annotations

small, large, scratch = map(Path, sys.argv[1:])
assert list(read_annotations(small, scratch))
process = psutil.Process()
before = peak = process.memory_info().rss
count = 0
for count, _ in enumerate(read_annotations(large, scratch), 1):
    if count % 2000 == 0:
        peak = max(peak, process.memory_info().rss)
print(count, (peak - before) // 2**20)
"""


def write_csv(file: Path, rows: int) -> None:
    with file.open("w") as opened:
        opened.write("filename,col_x,row_y,width,height,label\n")
        opened.writelines(f"folder/{row // 5:07}.jpg,{row % 100}.5,2,30,40,car\n" for row in range(rows))


def write_parquet(file: Path, rows: int) -> None:
    columns = {
        "filename": [f"folder/{row // 5:07}.jpg" for row in range(rows)],
        "col_x": [float(row) for row in range(rows)],
        "label": ["car"] * rows,
    }
    columns |= dict.fromkeys(("row_y", "width", "height"), columns["col_x"])
    pq.write_table(pa.table(columns), file, row_group_size=rows)


def write_coco(file: Path, rows: int) -> None:
    content = {
        "annotations": [
            {"id": row, "image_id": row // 5, "category_id": 1, "bbox": [1.5, 2.5, 10, 20]} for row in range(rows)
        ],
        "images": [{"id": row, "file_name": f"folder/{row:07}.jpg"} for row in range(rows // 5 + 1)],
        "categories": [{"id": 1, "name": "car"}],
    }
    file.write_text(json.dumps(content))


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(
    ("name", "write", "rows", "limit"),
    [
        ("boxes.csv", write_csv, 100_000, 4),
        ("boxes.parquet", write_parquet, 200_000, 48),
        ("boxes.json", write_coco, 50_000, 8),
    ],
)
def test_memory_does_not_grow_with_the_file(
    tmp_path: Path, name: str, write: Callable[[Path, int], None], rows: int, limit: int
) -> None:
    """A list of these annotations would take about 700 bytes for each: 130 MiB for 200,000."""
    small, large = tmp_path / f"small_{name}", tmp_path / name
    write(small, 1)
    write(large, rows)
    command = [sys.executable, "-c", _RESIDENT, str(small), str(large), str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    count, mebibytes = map(int, done.stdout.split())
    assert count == rows
    assert mebibytes < limit
