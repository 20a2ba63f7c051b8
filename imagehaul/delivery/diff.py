"""Two publications of a data set side by side: what an earlier one and a later one say of images and boxes."""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagehaul.delivery.verification import download_ledger
from imagehaul.errors import HaulError, SettingsError, StoreError
from imagehaul.layout import Layout, split_object_uri
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.difference import (
    AFTER,
    BEFORE,
    Change,
    Changes,
    find_differences,
    first_changes,
    load_version,
    write_differences,
)
from imagehaul.ledger.ledger_file import refuse_partial
from imagehaul.ledger.publications import current_publication, previous_publication, publication
from imagehaul.ledger.runs import Current
from imagehaul.progress import Progress
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import is_missing
from imagehaul.store.files import fetch_files

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Difference:
    """From the publication of run `before` to that of run `after`. `examples`: the first of each kind of change."""

    dataset: str
    before: str
    after: str
    images: Changes
    boxes: Changes
    seconds: float
    examples: tuple[Change, ...]

    @property
    def headline(self) -> str:
        said = [
            f"{changes.added:,} {what} added, {changes.removed:,} removed, {changes.changed:,} changed"
            for what, changes in (("images", self.images), ("boxes", self.boxes))
        ]
        return f"{self.dataset}: from run {self.before} to run {self.after}: {'; '.join(said)}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": round(self.seconds, 3)}


def diff(
    store: Store, layout: Layout, runs: tuple[str, ...], folder: Path, progress: Progress, output: str = ""
) -> Difference:
    """`runs`: none = the publication before the current one against that, one = it against the current one, or both.

    `folder`: an empty scratch folder. `output`: a file for the whole list as Parquet, "" = none.
    Raises SettingsError for runs that were not published, StoreError, and HaulError where `output` cannot be written.
    """
    if len(runs) > 2:
        raise SettingsError(f"Two runs are compared at most, and {len(runs)} are named: {', '.join(runs)}.")
    began = time.monotonic()
    client = store.patient_client()
    with closing(Catalog(folder)) as catalog:
        with store.explaining("read", layout.uri(layout.runs)):
            current = current_publication(client, layout)
            before = (
                publication(client, layout, runs[0], current) if runs else previous_publication(client, layout, current)
            )
            after = publication(client, layout, runs[1], current) if len(runs) == 2 else current
        for side, version in ((BEFORE, before), (AFTER, after)):
            progress.stage(f"Reading the ledger and index of run {version.run}")
            with store.explaining("read", f"the ledger and index of run {version.run}"):
                _load(client, catalog, side, version, folder / str(side))
        progress.stage("Comparing")
        images, boxes = find_differences(catalog)
        if output:
            write_differences(catalog, folder / "difference.parquet")
        found = Difference(
            dataset=layout.dataset,
            before=before.run,
            after=after.run,
            images=images,
            boxes=boxes,
            seconds=time.monotonic() - began,
            examples=tuple(first_changes(catalog, EXAMPLES)),
        )
    if output:
        keep_file(folder / "difference.parquet", output, f"{found.headline}.\nThe list of it")
    return found


def keep_file(file: Path, path: str, what: str) -> None:
    """Raises HaulError, in the words of `what`."""
    try:
        shutil.copyfile(file, path)
    except OSError as error:
        raise HaulError(f"{what} could not be written to {path}: {error.strerror}.") from error


def _load(client: S3Client, catalog: Catalog, side: int, version: Current, folder: Path) -> None:
    folder.mkdir()
    ledger = download_ledger(client, version, folder)
    uri, table = version.exports["parquet"], folder / "metadata.parquet"
    bucket, key = split_object_uri(uri)
    try:
        fetch_files(client, bucket, [key], [table])
    except client.exceptions.ClientError as error:
        if not is_missing(error):
            raise
        raise StoreError(f"{uri}, the index of run {version.run}, is not there any more.\nName another run.") from error
    load_version(catalog, side, ledger, table, version.run)
    refuse_partial(catalog, version, ledger)
    for file in (*ledger, table):
        file.unlink()
