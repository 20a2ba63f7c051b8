"""What the scan of an archive found, kept for the next run: its members, and the files that may be annotations."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from imagehaul.errors import SourceError
from imagehaul.records import SourceFile
from imagehaul.sources.archive_file import ArchiveFile
from imagehaul.sources.source import SourceTools

_MEMBERS = "members.parquet"
_INSIDE = "inside/"
"""Before the names of the archive's own files: one of them may be called as ours is."""
_FIELDS = ("path", "size", "version", "code", "message", "location")
_ROWS = 10_000
_CHUNK = 1024 * 1024


def recalled(file: ArchiveFile, tools: SourceTools, inside: Path) -> Iterator[SourceFile] | None:
    """The members as an earlier run saw them, and its annotation files in the folder `inside`.

    None where the archive is another one now, or nothing is known of it. A zip's own directory is as quick to read.
    """
    if tools.memory is None:
        return None
    kept = inside.with_suffix(".kept")
    if not tools.memory.load(_name(file), kept):
        return None
    members = inside.with_suffix(".parquet")
    try:
        with zipfile.ZipFile(kept) as parts:
            if parts.comment != _comment(file):
                return None
            with parts.open(_MEMBERS) as kept_members, members.open("wb") as out:
                shutil.copyfileobj(kept_members, out, _CHUNK)
            for item in parts.infolist():
                if item.filename != _MEMBERS:
                    item.filename = item.filename.removeprefix(_INSIDE)
                    parts.extract(item, inside)
    except (zipfile.BadZipFile, KeyError, OSError):
        return None
    finally:
        kept.unlink()
    return _rows(members)


def remember(
    file: ArchiveFile, tools: SourceTools, inside: Path, members: Iterator[SourceFile]
) -> Iterator[SourceFile]:
    """Hands the members on, and keeps them once the last one was read."""
    if tools.memory is None:
        yield from members
        return
    from imagehaul.arrow import pa, pq

    written = inside.with_suffix(".parquet")
    schema = pa.schema([(name, pa.int64() if name == "size" else pa.string()) for name in _FIELDS])
    some: list[SourceFile] = []
    with pq.ParquetWriter(written, schema, compression="zstd") as parquet:

        def write() -> None:
            columns = {name: [getattr(item, name) for item in some] for name in _FIELDS}
            parquet.write_table(pa.table(columns, schema))
            some.clear()

        for item in members:
            some.append(item)
            yield item
            if len(some) == _ROWS:
                write()
        write()
    with tempfile.NamedTemporaryFile(dir=inside.parent, suffix=".zip") as packed:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as parts:
            parts.comment = _comment(file)
            parts.write(written, _MEMBERS)
            for folder, _, names in os.walk(inside):
                for name in names:
                    parts.write(Path(folder, name), _INSIDE + str(Path(folder, name).relative_to(inside)))
        packed.flush()
        tools.memory.save(_name(file), Path(packed.name))


def _rows(members: Path) -> Iterator[SourceFile]:
    from imagehaul.arrow import pa, pq

    try:
        for batch in pq.ParquetFile(members).iter_batches(_ROWS):
            for row in batch.to_pylist():
                yield SourceFile(**row)
    except (pa.ArrowException, TypeError) as error:
        raise SourceError(f"What an earlier run kept of the archive cannot be read: {error}.") from None


def _comment(file: ArchiveFile) -> bytes:
    """Of which archive this is told, and how: 2, with the archive's own files below a folder."""
    return f"2 {file.identity}".encode()


def _name(file: ArchiveFile) -> str:
    return f"archive-{hashlib.sha256(file.uri.encode()).hexdigest()[:32]}.zip"
