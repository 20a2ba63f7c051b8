"""The house as a whole: files and functions that one can take in at a glance, and SQL in one room.

Who may import whom is for import-linter (`make check`).
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("imagehaul", "flows", "blocks", "tests", "benchmarks", "examples")
FILES = sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 400, 60
_SQL = re.compile(r"\b(SELECT\b.*\bFROM|INSERT INTO|DELETE FROM|CREATE (OR REPLACE )?(TABLE|VIEW|MACRO))\b", re.DOTALL)


def shown(file: Path) -> str:
    return str(file.relative_to(ROOT))


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_no_file_is_long() -> None:
    pages = (ROOT / "imagehaul").rglob("*.js")
    lengths = {shown(file): len(file.read_text().splitlines()) for file in (*FILES, *pages)}
    assert len(lengths) > 200
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_no_function_is_long() -> None:
    long = {
        f"{shown(file)}:{found.lineno} {found.name}": found.end_lineno - found.lineno + 1
        for file in FILES
        for found in functions(ast.parse(file.read_text()))
        if found.end_lineno and found.end_lineno - found.lineno + 1 > MOST_LINES_OF_A_FUNCTION
    }
    assert long == {}


@pytest.mark.parametrize("file", [file for file in FILES if shown(file).startswith("imagehaul/")], ids=shown)
def test_sql_stands_in_the_ledger(file: Path) -> None:
    texts = [
        node.value
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    # A file of COCO annotations is joined in a SQLite of its reader's own: readers know no ledger.
    if file.parent.name != "ledger" and file.name != "coco.py":
        assert [text for text in texts if _SQL.search(text)] == []


def test_the_architecture_names_files_that_there_are() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = {name.removeprefix("imagehaul/") for name in re.findall(r"`([\w/]+\.py)`", text)}
    assert len(named) > 30
    assert {name for name in named if not (ROOT / "imagehaul" / name).is_file()} == set()


def test_the_documentation_names_tests_that_there_are() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    tests = {shown(file) for file in FILES} | {file.name for file in FILES}
    named = {(shown(page), name) for page in pages for name in re.findall(r"`([\w/]*test_\w+\.py)`", page.read_text())}
    assert len(named) > 20
    assert {(page, name) for page, name in named if name not in tests} == set()
