"""A list as the source: a row for each picture, on this machine, in a store or on the web, mixed as they come.

A row's key never depends on other rows: it is the row's own name for it, else the path below SOURCE_ROOT, else the
whole path without its leading `/`, `bucket/key`, or `host/path`. A relative path is taken from SOURCE_ROOT, else from
the folder of the list, and is its own key.
"""

from __future__ import annotations

import os
import posixpath
import re
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from urllib.parse import unquote

from imagehaul.errors import Code, SourceError, Trait
from imagehaul.layout import split_s3_uri
from imagehaul.records import SourceFile, SourceOptions
from imagehaul.sources import local_file, stored_objects
from imagehaul.sources.filters import Selection
from imagehaul.sources.list_rows import SUFFIXES, Row, read_rows
from imagehaul.sources.scan_report import ScanReport
from imagehaul.sources.source import CopyOrigin, Entry, Fetched, Source, SourceDescriptor, SourceTools, SourceType
from imagehaul.sources.stored_objects import ObjectWanted, bucket_and_key, etag_is_md5
from imagehaul.sources.web import Looked, Web
from imagehaul.sources.web_address import has_image_suffix, is_web, path_of, problem_of_url, without_user
from imagehaul.sources.web_client import WebError
from imagehaul.sources.web_memory import WebMemory
from imagehaul.store.ca import authority_file
from imagehaul.url_secrets import without_secrets

_ROWS_AT_ONCE = 1_000
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class ListSource:
    """`list_uri`: the list's absolute path, or `s3://bucket/key`."""

    list_uri: str
    options: SourceOptions
    tools: SourceTools
    web: Web

    # -- scan ------------------------------------------------------------------------------------------------------

    def scan(self, report: ScanReport) -> Iterator[SourceFile]:
        selection = Selection(self.options.include, self.options.exclude)
        with (
            tempfile.TemporaryDirectory(dir=self.tools.scratch) as folder,
            WebMemory(self.tools.memory, self.list_uri, Path(folder)) as memory,
            ThreadPoolExecutor(self.tools.workers, "source") as threads,
        ):
            rows = read_rows(self._local_list(Path(folder)), self.list_uri, self.options.column, report.said)
            read = 0
            while some := list(islice(rows, _ROWS_AT_ONCE)):
                read += len(some)
                # In the order of the list; what a row leads to is asked for many at a time.
                urls = [location if is_web(location := self._located(row.location)) else "" for row in some]
                known = [memory.recall(url) if url else None for url in urls]
                for row, url, looked, file in zip(some, urls, known, threads.map(self._look, some, known), strict=True):
                    if url and not file.code:
                        memory.keep(url, Looked(file.size, file.version, posixpath.splitext(file.path)[1]))
                    elif url and looked and Trait.UNSEEN in Code[file.code].traits:
                        memory.keep(url, looked)
                    if file.code or selection.takes(file.path):
                        yield replace(file, metadata=self._metadata(row, report))
                    else:
                        report.excluded += 1
            if not read:
                raise SourceError(f"The list {self.list_uri!r} is empty.")

    def _local_list(self, folder: Path) -> Path:
        if not self.list_uri.startswith("s3://"):
            return Path(self.list_uri)
        store = self.tools.need_store()
        with store.explaining("read", f"the list {self.list_uri}"):
            return stored_objects.fetch_one(store, *bucket_and_key(self.list_uri), folder)

    def _look(self, row: Row, known: Looked | None = None) -> SourceFile:
        """What the row leads to, or why it leads nowhere. `known`: what was said of it before.

        Raises `StoreError` for what concerns all rows.
        """
        location = self._located(row.location)
        path = row.name or (self._path_of(row.location, location, known.suffix if known else "") if location else "")
        try:
            if row.problem or not location:
                raise _RowError(Code.URL_UNSUPPORTED, row.problem or f"Row {row.number} names no picture.")
            if location == self.list_uri:
                raise _RowError(Code.UNDECODABLE, "The row names the list itself.")
            if is_web(location):
                found = self._look_at_web(location, row.name, known)
            elif location.startswith("s3://"):
                found = stored_objects.look(self.tools.need_store(), *bucket_and_key(location))
            elif _SCHEME.match(location):
                raise _RowError(Code.URL_UNSUPPORTED, "")
            else:
                found = local_file.look(location)
        except (WebError, _RowError) as error:
            found = SourceFile(path, 0, "", error.code, str(error))
        shown = without_secrets(location) if is_web(location) else location
        message = found.message or Code[found.code].meaning if found.code else ""
        return SourceFile(
            path=found.path or path or f"{posixpath.basename(self.list_uri)}:{row.number}",
            size=found.size,
            version=found.version,
            code=found.code,
            message=f"{message} ({shown})" if message and shown else message,
            location=location,
        )

    def _look_at_web(self, url: str, name: str, known: Looked | None) -> SourceFile:
        if problem := problem_of_url(url):
            raise _RowError(Code.URL_UNSUPPORTED, problem)
        sniff = not name and not has_image_suffix(url)
        looked = self.web.look(url, sniff, known)
        return SourceFile(name or self._path_of(url, url, looked.suffix), looked.size, looked.version)

    def _metadata(self, row: Row, report: ScanReport) -> str:
        if not row.cells:
            return ""
        words = self.list_uri.lower().endswith((".csv", ".tsv"))
        return report.metadata.read(row.cells, f"row {row.number}", words)

    # -- names -----------------------------------------------------------------------------------------------------

    def _located(self, written: str) -> str:
        """The absolute path, or the URI, that a row means; "" where it says nothing."""
        if not written:
            return ""
        if written[:7].lower() == "file://":
            return unquote(written[7:].removeprefix("localhost"))
        if written[:5].lower() == "s3://":
            return f"s3://{written[5:]}"
        if _SCHEME.match(written) or written.startswith("/"):
            return written
        root = self.options.source_root or posixpath.dirname(self.list_uri)
        return f"{root.rstrip('/')}/{written.removeprefix('./')}"

    def _path_of(self, written: str, location: str, suffix: str = "") -> str:
        """What the picture is called where its row does not say it."""
        root = self.options.source_root
        # A root names no user, and the addresses below it may.
        plain = without_user(location) if is_web(location) else location
        if root and plain.startswith(root.rstrip("/") + "/"):
            if not is_web(location):
                return location[len(root.rstrip("/")) + 1 :]
            # Decoded, and with what tells queries apart, as without a root.
            return path_of(location, suffix)[len(path_of(root.rstrip("/") + "/", "")) :]
        if is_web(location):
            return "" if problem_of_url(location) else path_of(location, suffix)
        if location.startswith("s3://"):
            return location[5:] if written[:5].lower() == "s3://" else written.removeprefix("./")
        absolute = written.startswith("/") or written[:7].lower() == "file://"
        return location.lstrip("/") if absolute else written.removeprefix("./")

    # -- what was listed -------------------------------------------------------------------------------------------

    def fetch(self, entries: Sequence[Entry], whole: Sequence[bool], folder: Path) -> list[Fetched]:
        found: dict[str, Fetched] = {}
        objects = []
        pages = []
        for index, (entry, all_of_it) in enumerate(zip(entries, whole, strict=True)):
            if is_web(entry.location):
                pages.append((entry, folder / f"web-{index}"))
            elif entry.location.startswith("s3://"):
                bucket, key = bucket_and_key(entry.location)
                objects.append(ObjectWanted(bucket, key, entry.size, entry.version, all_of_it))
            else:
                found[entry.location] = Fetched(entry.location, local_file.time_of(entry.version))
        if objects:
            store = self.tools.need_store()
            for item, got in stored_objects.fetch(store, objects, folder, self.tools.workers).items():
                found[f"s3://{item[0]}/{item[1]}"] = got
        if pages:
            with ThreadPoolExecutor(min(self.tools.workers, len(pages)), "web") as threads:
                got_pages = threads.map(lambda page: _fetch_page(self.web, *page), pages)
                found.update(zip((entry.location for entry, _ in pages), got_pages, strict=True))
        return [found[entry.location] for entry in entries]

    def has_changed(self, entry: Entry) -> bool:
        if is_web(entry.location):
            try:
                return self.web.has_changed(entry.location, entry.size, entry.version)
            except WebError:
                return True
        if entry.location.startswith("s3://"):
            return stored_objects.has_changed(self.tools.need_store(), *bucket_and_key(entry.location), entry)
        return local_file.has_changed(entry.location, entry)

    def copy_from(self, entry: Entry) -> CopyOrigin | None:
        if not entry.location.startswith("s3://") or not self.tools.can_copy:
            return None
        bucket, key = bucket_and_key(entry.location)
        return CopyOrigin(bucket, key, entry.version, etag_is_md5(entry.version))


class _RowError(Exception):
    """Why a row is rejected."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def _fetch_page(web: Web, entry: Entry, file: Path) -> Fetched:
    try:
        web.fetch(entry.location, file, entry.version)
    except WebError as error:
        return Fetched(code=error.code, message=str(error))
    except OSError as error:
        return stored_objects.scratch_fault(file, error)
    return Fetched(str(file), size=file.stat().st_size)


def _recognizes(source: str) -> bool:
    if not source.lower().endswith(SUFFIXES):
        return False
    return source[:5].lower() == "s3://" or ("://" not in source and not Path(source).expanduser().is_dir())


def _describe(source: str, options: SourceOptions, scratch: str) -> SourceDescriptor:
    if not source.lower().endswith(SUFFIXES):
        raise SourceError(f"The list {source!r} must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}.")
    if source[:5].lower() == "s3://":
        split_s3_uri(f"s3://{source[5:]}")
        return SourceDescriptor("list", f"s3://{source[5:]}", replace(options, source_root=_root(options)))
    file = local_file.readable(source, "list")
    return SourceDescriptor("list", file, replace(options, source_root=_root(options)))


def _root(options: SourceOptions) -> str:
    """SOURCE_ROOT as rows are compared with it: absolute, where it is on this machine."""
    root = options.source_root
    return os.path.abspath(os.path.expanduser(root)) if root and "://" not in root else root  # noqa: PTH100, PTH111


def _open(descriptor: SourceDescriptor, tools: SourceTools) -> Source:
    ca = descriptor.options.source_ca_bundle or (tools.store.ca if tools.store else "")
    web = Web(descriptor.options.allow_private_addresses, authority_file(ca) if ca else "")
    return ListSource(descriptor.uri, descriptor.options, tools, web)


TYPE = SourceType("list", _recognizes, _describe, _open)
