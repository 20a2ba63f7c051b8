"""Where the annotations of a delivery lie, and their way into the catalog."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagehaul.annotations.registry import (
    Reading,
    choose_annotations,
    find_annotations,
    folder_in_source,
    may_tell_of_images,
    read_annotations,
)
from imagehaul.annotations.yolo import NAME_FILES
from imagehaul.errors import AnnotationError
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.matching import load_annotations
from imagehaul.sources.source import SourceDescriptor
from imagehaul.store.endpoint import Store
from imagehaul.store.explanations import explain

if TYPE_CHECKING:
    from s3fs import S3FileSystem


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was read, a line for each file or folder, and what was wrong with it."""

    lines: tuple[str, ...]
    warnings: tuple[str, ...]


def gather_annotations(
    location: str, source: SourceDescriptor, store: Store, catalog: Catalog, scratch: Path
) -> Gathered:
    """Reads `location` (a file, a folder or an `s3://` URI; "" = beside the images) into the catalog.

    Raises `AnnotationError` where it is not there or is not what it should be.
    """
    scratch.mkdir()
    readings = list(_open(location, source, store, scratch))
    load_annotations(catalog, (annotation for reading in readings for annotation in reading))
    return Gathered(
        tuple(reading.summary() for reading in readings),
        tuple(warning for reading in readings for warning in reading.warnings()),
    )


def _open(location: str, source: SourceDescriptor, store: Store, scratch: Path) -> Iterator[Reading]:
    if location.startswith("s3://"):
        yield _open_in_store(location, source, store, scratch)
    elif location:
        path = Path(location).expanduser()
        inside = folder_in_source(path, source.folder) if source.folder else None
        yield read_annotations(path, scratch, inside)
    elif source.folder:
        for file in find_annotations(source.folder):
            yield read_annotations(file, scratch, "")
    elif source.prefix:
        files = store.filesystem()
        there = "/".join(source.prefix)
        try:
            names = [posixpath.basename(path) for path in files.ls(there, detail=False, refresh=True)]
        except FileNotFoundError:
            names = []
        for name in choose_annotations(names):
            yield _open_in_store(f"{source}{name}", source, store, scratch)


def _open_in_store(uri: str, source: SourceDescriptor, store: Store, scratch: Path) -> Reading:
    """Downloaded by s3fs, and read as a local file or folder."""
    files = store.filesystem()
    path = uri.removeprefix("s3://").rstrip("/")
    local = scratch / "downloaded" / posixpath.basename(path)
    local.parent.mkdir(exist_ok=True)
    try:
        if files.isfile(path):
            files.get_file(path, str(local))
            folder = posixpath.dirname(path)
        elif files.isdir(path):
            _download_folder(files, path, local)
            folder = path
        else:
            raise AnnotationError(f"There are no annotations at {uri}.\nCorrect the URI, or leave the option out.")
    except AnnotationError:
        raise
    except Exception as error:
        raise explain(error, "read", f"the annotations at {uri}", store.url) from error
    return read_annotations(local, scratch, _inside(folder, source), shown=uri)


def _download_folder(files: S3FileSystem, path: str, local: Path) -> None:
    """What can be annotations below `path`, and the class names that YOLO keeps in the folder above."""
    above = posixpath.dirname(path)
    names = [f"{above}/{name}" for name in NAME_FILES] if "/" in path else []
    for key in [name for name in names if files.isfile(name)]:
        files.get_file(key, str(local.parent / posixpath.basename(key)))
    for key in files.find(path):
        relative = key.removeprefix(f"{path}/")
        if ".." not in relative.split("/") and may_tell_of_images(posixpath.basename(relative)):
            target = local / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            files.get_file(key, str(target))


def _inside(folder: str, source: SourceDescriptor) -> str | None:
    """The folder relative to the source; None where it lies outside of it."""
    if not source.prefix:
        return None
    root = "/".join(source.prefix)
    return folder.removeprefix(root.rstrip("/")).strip("/") if f"{folder}/".startswith(root) else None
