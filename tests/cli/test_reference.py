"""The documentation says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagehaul.cli.reference import PARTS, with_table
from imagehaul.exports.metadata_parquet import PARQUET_COLUMNS
from imagehaul.ledger.rows import COLUMNS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("file", PARTS)
def test_the_tables_are_as_the_code_makes_them(file: str) -> None:
    name, table = PARTS[file]
    page = (DOCS / file).read_text()
    assert with_table(page, name, table()) == page, "run `make docs`"


def test_every_column_of_the_ledger_and_the_export_is_described() -> None:
    page = (DOCS / "contracts.md").read_text()
    assert [name for name in (*COLUMNS, *PARQUET_COLUMNS) if f"`{name}`" not in page] == []
