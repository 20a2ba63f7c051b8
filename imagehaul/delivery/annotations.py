"""Where the annotations of a delivery lie, and their way into the catalog."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagehaul.annotations.format import Location, TableMetadata
from imagehaul.annotations.place import FolderPlace, Place
from imagehaul.annotations.reading import Reading
from imagehaul.annotations.registry import (
    BESIDE,
    find_annotations,
    may_tell_of_images,
    open_annotations,
    open_found,
)
from imagehaul.delivery.store_place import StorePlace
from imagehaul.errors import AnnotationError
from imagehaul.layout import split_s3_uri
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.statements import load_annotations
from imagehaul.metadata import MetadataColumn
from imagehaul.sources.source import SourceDescriptor
from imagehaul.sources.web_address import is_web
from imagehaul.store.endpoint import Store
from imagehaul.url_secrets import without_secrets


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was read, a line for each file or folder, and what was wrong with it.

    `columns`: of their metadata. `roots`: the source, as an absolute path or URI of an image begins.
    """

    lines: tuple[str, ...]
    warnings: tuple[str, ...]
    columns: tuple[MetadataColumn, ...] = ()
    roots: tuple[str, ...] = ()


def gather_annotations(
    locations: Sequence[str], source: SourceDescriptor, store: Store, catalog: Catalog, scratch: Path
) -> Gathered:
    """Reads files, folders and `s3://` URIs into the catalog; without any, what lies beside the images.

    Raises `AnnotationError` where one is not there or is not what it should be.
    """
    scratch.mkdir()
    metadata = TableMetadata()
    lines: list[str] = []
    plain = Location(scratch, "", None, scratch, metadata, posixpath.basename(str(source).rstrip("/")))
    readings = list(_given(locations, source, store, plain) if locations else _beside(source, store, plain, lines))
    load_annotations(catalog, (annotation for reading in readings for annotation in reading))
    tables = (metadata.images, metadata.objects)
    return Gathered(
        tuple(reading.summary() for reading in readings),
        (
            *lines,
            *(warning for reading in readings for warning in reading.warnings()),
            *(warning for table in tables for warning in table.warnings()),
        ),
        tuple(column for table in tables for column in table.columns()),
        _roots(source),
    )


def _roots(source: SourceDescriptor) -> tuple[str, ...]:
    named = str(source).rstrip("/")
    return tuple(dict.fromkeys((named, os.path.realpath(source.folder) if source.folder else named)))


def _given(locations: Sequence[str], source: SourceDescriptor, store: Store, plain: Location) -> Iterator[Reading]:
    for number, location in enumerate(dict.fromkeys(locations)):
        if location.startswith("s3://"):
            yield from open_annotations(_downloaded(location, source, store, plain, plain.scratch / f"given-{number}"))
        elif is_web(location):
            raise AnnotationError(
                f"The annotations at {without_secrets(location)} are an address on the web. Download them, and give "
                "the file or its folder."
            )
        else:
            path = Path(location).expanduser()
            inside = folder_in_source(path, source.folder) if source.folder else None
            yield from open_annotations(_at(plain, path, location, inside))


def _beside(source: SourceDescriptor, store: Store, plain: Location, lines: list[str]) -> Iterator[Reading]:
    place: Place
    if source.folder:
        place, root = FolderPlace(source.folder), source.folder
    elif source.prefix:
        root = plain.scratch / "beside"
        place = StorePlace(store, *source.prefix, root, may_tell_of_images)
    else:
        return
    choice = find_annotations(place)
    lines += choice.lines
    for found in choice.found:
        for path in (*found.needs, found.path):
            place.fetch(path)
    yield from open_found(_at(plain, root, str(source), ""), choice.found)


def _downloaded(uri: str, source: SourceDescriptor, store: Store, plain: Location, scratch: Path) -> Location:
    """A folder together with the class names that YOLO keeps in the folder above it."""
    bucket, key = split_s3_uri(uri.rstrip("/"))
    above, name = posixpath.split(key.rstrip("/"))
    place = StorePlace(store, bucket, above, scratch, may_tell_of_images)
    if place.is_file(name):
        folder = above
    elif place.is_folder(name):
        folder = posixpath.join(above, name)
        for beside in BESIDE if name else ():
            if place.is_file(beside):
                place.fetch(beside)
    else:
        raise AnnotationError(f"There are no annotations at {uri}.\nCorrect the URI, or leave the option out.")
    return _at(plain, place.fetch(name), uri.rstrip("/"), _inside(bucket, folder, source))


def _at(plain: Location, path: Path, shown: str, folder: str | None) -> Location:
    return Location(path, shown.rstrip("/"), folder, plain.scratch, plain.metadata, plain.source_name)


def folder_in_source(location: Path, source: Path) -> str | None:
    """The folder that holds a file or folder of annotations, relative to the source; None where it is outside."""
    folder = os.path.realpath(location if location.is_dir() else location.parent)
    relative = Path(os.path.relpath(folder, os.path.realpath(source)))
    if ".." in relative.parts:
        return None
    return "" if relative == Path() else relative.as_posix()


def _inside(bucket: str, folder: str, source: SourceDescriptor) -> str | None:
    """The folder relative to a source in the same store; None where it lies outside of it."""
    if not source.prefix:
        return None
    root = "/".join(source.prefix)
    there = f"{bucket}/{folder}".rstrip("/")
    return there.removeprefix(root.rstrip("/")).strip("/") if f"{there}/".startswith(root) else None
