"""Row groups of exports: few, whatever the pieces are in which rows come."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagehaul.exports import parquet_file
from imagehaul.exports.export import ExportFiles
from imagehaul.exports.parquet_file import ParquetFile


def written(tmp_path: Path, pieces: list[list[int]]) -> pq.ParquetFile:
    def send(file: Path, name: str) -> None:
        shutil.copyfile(file, tmp_path / name)

    with ExportFiles(tmp_path, send, str.encode) as files:
        file = ParquetFile(files, pa.schema([("number", pa.int64())]))
        for piece in pieces:
            file.write(pa.table({"number": piece}))
        file.close("numbers.parquet")
    return pq.ParquetFile(tmp_path / "numbers.parquet")


def test_small_pieces_share_a_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_file, "ROWS_IN_GROUP", 10)
    pieces = [list(range(4 * n, 4 * n + 4)) for n in range(7)]
    file = written(tmp_path, pieces)
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [12, 12, 4]
    assert file.read()["number"].to_pylist() == list(range(28))


def test_a_file_without_rows_has_its_columns(tmp_path: Path) -> None:
    file = written(tmp_path, [])
    assert (file.metadata.num_rows, file.schema_arrow.names) == (0, ["number"])
