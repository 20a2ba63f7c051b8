"""The kinds of sources: a new one is a file here, and a line in `TYPES`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from imagehaul.errors import SettingsError, SourceError
from imagehaul.records import SourceFile, SourceOptions
from imagehaul.sources import archive, folder, lists, opened, prefix
from imagehaul.sources.scan_report import ScanReport
from imagehaul.sources.source import Source, SourceDescriptor, SourceTools, SourceType
from imagehaul.sources.source_store import source_store
from imagehaul.url_secrets import without_secrets

PLAIN = SourceOptions()

TYPES = (lists.TYPE, archive.TYPE, opened.TYPE, prefix.TYPE, folder.TYPE)
"""The first that recognizes a SOURCE has it; a folder is what nothing else is."""


def describe_source(
    source: str, options: SourceOptions = PLAIN, scratch: str = "", source_type: str = ""
) -> SourceDescriptor:
    """What the user named as SOURCE; a store is not asked yet. `source_type` forces a kind, "" = by its form.

    Raises `SourceError` where it cannot be one, or where the folder `scratch` lies in it: what a killed run
    left there would be taken for images. Raises `SettingsError` for a kind that is not there, and for a column of what
    has none.
    """
    if not source.strip():
        raise SourceError("The source is empty. Give a folder, s3://bucket/prefix, a list or an archive.")
    kind = _named(source_type) if source_type else next((kind for kind in TYPES if kind.recognizes(source)), None)
    if kind is None:
        raise SourceError(_unknown(source))
    if options.column and kind is not lists.TYPE:
        raise SettingsError(
            f"--column {options.column} is for a list, and the source {without_secrets(source)!r} is taken for another "
            f"kind ({kind.name}): leave it out, or say --source-type list."
        )
    if options.archives == "open" and kind in opened.OPENED:
        kind = opened.TYPE
    return kind.describe(source, options, scratch)


def _unknown(source: str) -> str:
    scheme = source.partition("://")[0].lower()
    if scheme in ("http", "https"):
        return (
            f"The source {without_secrets(source)!r} is an address on the web. Write it, and others, into a list with "
            "a line for each picture, and deliver that: pictures.txt."
        )
    return f"The source {source!r} is neither a folder nor s3://bucket/prefix, a list or an archive. Give one of these."


def open_source(descriptor: SourceDescriptor, tools: SourceTools) -> Source:
    """Cheap: nothing is read before it is asked for. `tools.store`: the target's.

    Raises `SettingsError` where the source lies in a store of its own, and that cannot be.
    """
    target = tools.store
    if target is not None:
        store = source_store(descriptor.options, target)
        # Only one key that reads here and writes there makes a copy; and what lies elsewhere is not the data set.
        layout = tools.layout if store.url == target.url else None
        tools = replace(tools, store=store, layout=layout, can_copy=store == target)
    return _named(descriptor.type).open(descriptor, tools)


def scan_source(source: Source, descriptor: SourceDescriptor, report: ScanReport) -> Iterator[SourceFile]:
    """Every image of the source, each path once. `report` counts it, and all that was left out.

    Raises `SourceError` where the source cannot be listed whole, is the data set itself, or holds no image.
    """
    for file in source.scan(report):
        report.images += 1
        yield file
    report.refuse_none(str(descriptor))


def _named(name: str) -> SourceType:
    for kind in TYPES:
        if kind.name == name:
            return kind
    raise SettingsError(f"--source-type {name} is none. Take {', '.join(kind.name for kind in TYPES)}.")
