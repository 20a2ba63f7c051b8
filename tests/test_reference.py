"""The documentation says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.export import PARQUET_COLUMNS
from flows.ledger import COLUMNS
from flows.reference import PARTS, with_table

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize("file", PARTS)
def test_the_tables_are_as_the_code_makes_them(file: str) -> None:
    name, table = PARTS[file]
    page = (DOCS / file).read_text()
    assert with_table(page, name, table()) == page, "run `make docs`"


def test_every_column_of_the_ledger_and_the_export_is_described() -> None:
    page = (DOCS / "contracts.md").read_text()
    assert [name for name in (*COLUMNS, *PARQUET_COLUMNS) if f"`{name}`" not in page] == []
