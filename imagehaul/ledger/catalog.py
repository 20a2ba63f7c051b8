"""The run's working tables: inventory, annotations, listings and earlier ledgers, on the scratch disk.

DuckDB joins and sorts them out of core, so that memory does not grow with the data set.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypedDict, TypeVar

from imagehaul.errors import HaulError
from imagehaul.ledger.tables import MACROS, TABLES, VIEWS

if TYPE_CHECKING:
    import duckdb

    from imagehaul.arrow import pa

Result = TypeVar("Result")

ROWS_LOADED = 10_000
ROWS_WORTH_ARROW = 500
"""Fewer are loaded without Arrow, whose import takes 0.13 s. Of thousands it takes in three times as many a second."""
ROWS_FETCHED = 2_000
THREADS = 2
"""Where there are rows for more than one: with few a query takes a tenth more CPU by two threads than by one."""
ROWS_SORTED = 100_000
MEMORY_LIMIT = "100MB"
MORE_MEMORY = ("160MB", "320MB", "640MB", "1280MB", "2560MB")
"""What a query may have that finds too little: step by step, since few need the last."""
_INTERRUPTED = "Query interrupted"
_NAME = re.compile(r"\w+")
_MADE_BY = (
    {name: f"CREATE TABLE {name} ({columns})" for name, columns in TABLES.items()}
    | {name: f"CREATE VIEW {name} AS {query}" for name, query in VIEWS.items()}
    | {name: f"CREATE MACRO {name}" + definition for name, definition in MACROS.items()}
)


class Range(TypedDict):
    """Texts from `low` up to and without `high`; None = to the end. Parameters of a query."""

    low: str
    high: str | None


Parameters: TypeAlias = Sequence[Any] | dict[str, Any] | Range


class Catalog:
    """One DuckDB file in `folder`. All but `execute` works on a cursor of its own: threads may share the catalog.

    Raises HaulError where the disk or the memory gives out, from its making on.

    Every table is there from the beginning, and empty: it is made when a statement first names it. To make all at once
    takes a tenth of the CPU of a small run.
    """

    def __init__(self, folder: Path) -> None:
        import duckdb

        self.Error = duckdb.Error
        self._folder = folder
        self._not_made = dict(_MADE_BY)
        self._making = threading.Lock()
        with self._explained():
            self._open()

    def _open(self) -> None:
        import duckdb

        self._connection = duckdb.connect(
            str(self._folder / "catalog.duckdb"),
            config={
                "memory_limit": MEMORY_LIMIT,
                "temp_directory": str(self._folder / "spill"),
                "threads": 1,
                # What is packed into the file must be compressed, which is more work than most tables are worth.
                "checkpoint_threshold": "64MB",
                # No extension is fetched from the Internet behind the user's back.
                "autoinstall_known_extensions": False,
            },
        )
        # Nobody opens the file again: to wait until each change is on the disk would be for nothing.
        self._connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        with contextlib.suppress(duckdb.CatalogException):  # Before DuckDB 2 there is no such setting.
            self._connection.execute("SET fsync_mode = 'none'")

    def clear(self, table: str) -> None:
        with self._explained():
            if table in self._not_made:
                self._make(table)
            else:
                self._connection.execute(f"CREATE OR REPLACE TABLE {table} ({TABLES[table]})")

    def fill(self, table: str, query: str, parameters: Parameters = ()) -> None:
        """The table holds what the query gives, by the columns' names, and nothing else."""
        self.clear(table)
        self.append(table, query, parameters)

    def append(self, table: str, query: str, parameters: Parameters = ()) -> None:
        self.execute(f"INSERT INTO {table} BY NAME {query}", parameters)

    def execute(self, sql: str, parameters: Parameters = ()) -> None:
        self._patiently(sql, lambda: self._connection.execute(sql, parameters))

    def rows(self, sql: str, parameters: Parameters = ()) -> Iterator[tuple[Any, ...]]:
        """Streamed: a few thousand rows are in memory at a time."""
        result = self._connection.cursor()
        chunk = self._patiently(sql, lambda: result.execute(sql, parameters).fetchmany(ROWS_FETCHED))
        while chunk:
            yield from chunk
            with self._explained():
                chunk = result.fetchmany(ROWS_FETCHED)

    def one(self, sql: str, parameters: Parameters = ()) -> tuple[Any, ...]:
        (row,) = self.rows(sql, parameters)
        return row

    def batches(self, sql: str, parameters: Parameters, rows: int) -> Iterator[pa.RecordBatch]:
        """Streamed, as Arrow has them: so many rows at a time."""
        cursor = self._arrow_cursor()
        yield from self._patiently(sql, lambda: cursor.sql(sql, params=parameters).to_arrow_reader(rows))

    def table(self, sql: str, parameters: Parameters = ()) -> pa.Table:
        """All rows at once, as an Arrow table."""
        cursor = self._arrow_cursor()
        table: pa.Table = self._patiently(sql, lambda: cursor.sql(sql, params=parameters).to_arrow_table())
        return table

    def ranges(self, table: str, column: str) -> list[Range]:
        """Cuts the texts in `column` into ranges of about `ROWS_SORTED` rows, in order.

        `table`: its name, or a query in brackets. A sort or a join of wide rows needs memory in proportion to them,
        even where it spills. Several smaller ones do not.
        """
        total, *_ = self.one(f"SELECT count(*) FROM {table}")
        parts = -(-total // ROWS_SORTED)
        drawn = f"SELECT {column} FROM {table} USING SAMPLE reservoir({100 * parts} ROWS) REPEATABLE (1)"
        sample = sorted(text for (text,) in self.rows(drawn)) if parts > 1 else []
        cuts = sorted({sample[len(sample) * part // parts] for part in range(1, parts)})
        return [{"low": low, "high": high} for low, high in zip(["", *cuts], [*cuts, None], strict=True)]

    def load(self, table: str, rows: Iterable[Sequence[Any]]) -> int:
        """Adds the rows, a chunk at a time, and says how many there were."""
        count, iterator = 0, iter(rows)
        # Each chunk is a transaction of its own: what is not committed yet, DuckDB holds beyond its limit.
        while chunk := list(itertools.islice(iterator, ROWS_LOADED)):
            columns = [list(column) for column in zip(*chunk, strict=True)]
            if len(chunk) < ROWS_WORTH_ARROW:
                values = ", ".join(["unnest(?)"] * len(columns))
                self.execute(f"INSERT INTO {table} SELECT {values}", columns)
            else:
                self._load_by_arrow(table, columns)
            if count == 0 and len(chunk) == ROWS_LOADED:
                self._connection.execute(f"SET threads = {THREADS}")
            count += len(chunk)
        return count

    def _load_by_arrow(self, table: str, columns: Sequence[Sequence[Any]]) -> None:
        from imagehaul.arrow import pa

        cursor = self._connection.cursor()
        chunk = pa.table([pa.array(column) for column in columns], names=[f"column{n}" for n in range(len(columns))])
        sql = f"INSERT INTO {table} SELECT * FROM chunk"
        self._patiently(sql, lambda: cursor.register("chunk", chunk).execute(sql))

    def _arrow_cursor(self) -> duckdb.DuckDBPyConnection:
        """DuckDB imports Arrow by itself, and NumPy with it, where it is not there yet."""
        from imagehaul.arrow import pa  # noqa: F401

        return self._connection.cursor()

    def close(self) -> None:
        self._connection.close()

    def _make(self, statement: str) -> None:
        """Makes what the statement names of the tables, views and macros, and nothing named before."""
        names = set(_NAME.findall(statement))
        with self._making:
            if wanted := self._not_made.keys() & names:
                wanted |= self._not_made.keys() & _NAME.findall(" ".join(VIEWS.get(name, "") for name in wanted))
                # In their order: views come after what they show.
                made = [name for name in self._not_made if name in wanted]
                self._connection.cursor().execute("; ".join(["BEGIN", *map(_MADE_BY.__getitem__, made), "COMMIT"]))
                for name in made:
                    del self._not_made[name]

    def _patiently(self, sql: str, run: Callable[[], Result]) -> Result:
        """Rather takes more memory than end a run that has sent all and proven nothing."""
        import duckdb

        limit = MEMORY_LIMIT
        try:
            with self._explained():
                self._make(sql)
                for more in MORE_MEMORY:
                    try:
                        return run()
                    except duckdb.OutOfMemoryException:
                        limit = more
                        self._connection.execute(f"SET memory_limit = '{limit}'")
                return run()
        finally:
            if limit != MEMORY_LIMIT:
                # What is in use now cannot always be given back: then the rest of the run has more.
                with contextlib.suppress(duckdb.OutOfMemoryException):
                    self._connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Raises HaulError where the disk or the memory gives out, and where a signal comes what its handler does."""
        import duckdb

        try:
            yield
        except duckdb.OperationalError as error:
            raise HaulError(
                f"The working tables in {self._folder} cannot be kept: {str(error).splitlines()[0]}.\n"
                "Free room there, or name another folder with SCRATCH, and run again."
            ) from error
        except RuntimeError as error:
            if str(error) != _INTERRUPTED:
                raise
            _end_as_by_signal()


def _end_as_by_signal() -> NoReturn:
    """DuckDB looks for signals while it works, and says RuntimeError in place of what their handler raised.

    Which signal it was is lost, too. Who handles SIGTERM is asked again, since Prefect cancels a run by it; else, and
    for the command line, it is the KeyboardInterrupt of Ctrl-C.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if callable(handler):
        handler(signal.SIGTERM, None)
    raise KeyboardInterrupt
