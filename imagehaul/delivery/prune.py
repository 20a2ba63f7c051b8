"""The removal of what old runs left: ledgers, reports, exports, journals. Never images, thumbnails or crops.

Kept in any case are the current run, the ledger and export that `current.json` names, and newer runs that left rows.
Those were not published, and the next run reads them, or were published before an older one was restored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagehaul.errors import Code, SettingsError
from imagehaul.layout import MAIN_SOURCE, RUN_NAME, Layout, split_object_uri
from imagehaul.ledger.publications import current_publication
from imagehaul.ledger.runs import Current
from imagehaul.progress import human_bytes
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import classify, is_missing
from imagehaul.store.explanations import explain
from imagehaul.store.listing import list_objects
from imagehaul.text import counted

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

AT_ONCE = 16
EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class Leftover:
    """One object of an old run. Size in bytes; `refused`: why the store did not remove it."""

    run: str
    bucket: str
    key: str
    size: int
    refused: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, or would be. `bytes` and `objects`: of what went; `kept`: how many runs are still there."""

    dataset: str
    keep: int
    dry_run: bool
    current_run: str
    runs: tuple[str, ...]
    kept: int
    objects: int
    bytes: int
    refused: tuple[Leftover, ...] = field(default=())

    @property
    def exit_status(self) -> int:
        return 1 if self.refused else 0

    @property
    def headline(self) -> str:
        verb = "would be removed" if self.dry_run else "removed"
        said = f"{self.dataset}: {counted(len(self.runs), 'old run')} {verb}, {counted(self.objects, 'object')}, "
        said += f"{human_bytes(self.bytes)}; {counted(self.kept, 'run')} kept"
        said += " (what is still needed stays)" if self.kept > self.keep else ""
        said += f", run {self.current_run} is current"
        if self.refused:
            first = self.refused[0]
            said += f". The store refused to remove {len(self.refused):,} objects, such as {first}: {first.refused}"
        return said

    def as_json(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "keep": self.keep,
            "dry_run": self.dry_run,
            "current_run": self.current_run,
            "runs": list(self.runs),
            "kept": self.kept,
            "objects": self.objects,
            "bytes": self.bytes,
            "refused": len(self.refused),
            "refused_examples": [f"{item}: {item.refused}" for item in self.refused[:EXAMPLES]],
        }


def prune(store: Store, layout: Layout, keep: int, dry_run: bool) -> Pruned:
    """Keeps the newest `keep` runs. The caller holds the data set's lease, unless it is a dry run.

    An object that the store does not let us remove is named in the outcome. Raises SettingsError, StoreError.
    """
    if keep < 1:
        raise SettingsError(f"--keep {keep} would remove every run: keep 1 at least.")
    client = store.patient_client()
    with store.explaining("list", f"old runs below {layout.uri(layout.root)}"):
        current = current_publication(client, layout)
        found = list(_leftovers(client, layout))
        names = {item.run for item in found}
        gone = names - _needed(layout, current, found, keep)
        old = sorted(gone)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="prune") as threads:
        with store.explaining("read", "the reports of old runs"):
            exports = threads.map(lambda run: _elsewhere(client, layout, run), old)
            doomed = [item for run in exports for item in run] + [item for item in found if item.run in gone]
        if not dry_run:
            # The report knows where the export lies: it goes last, so that a prune that was cut short can be repeated.
            reports = {layout.report(run) for run in old}
            first = list(
                threads.map(lambda item: _remove(store, client, item), (i for i in doomed if i.key not in reports))
            )
            unfinished = {item.run for item in first if item.refused}
            last = [item for item in doomed if item.key in reports and item.run not in unfinished]
            doomed = first + list(threads.map(lambda item: _remove(store, client, item), last))
    refused = tuple(item for item in doomed if item.refused)
    in_part = {item.run for item in refused}
    return Pruned(
        dataset=layout.dataset,
        keep=keep,
        dry_run=dry_run,
        current_run=current.run,
        runs=tuple(run for run in old if run not in in_part),
        kept=len(names) - len(old),
        objects=len(doomed) - len(refused),
        bytes=sum(item.size for item in doomed if not item.refused),
        refused=refused,
    )


def _leftovers(client: S3Client, layout: Layout) -> Iterator[Leftover]:
    for folder in (layout.runs, layout.exports, layout.journals):
        for item in list_objects(client, layout.bucket, folder):
            # The journals of a source that is not the main one lie in a folder of its name.
            names = item.key.removeprefix(folder).split("/")[:-1]
            if run := next(filter(RUN_NAME.fullmatch, names[: 2 if folder == layout.journals else 1]), ""):
                yield Leftover(run, layout.bucket, item.key, item.size)


def _needed(layout: Layout, current: Current, found: list[Leftover], keep: int) -> set[str]:
    """The runs that must stay, or are to stay."""
    newest = sorted({item.run for item in found})[-keep:]
    # A newer run of a source than its published one that left rows was not published, or has died. Of a source that is
    # not in the index the newest is read again.
    left = sorted((name, item.run) for item in found if (name := _source_of(layout, item)) is not None)
    last_of = dict(left)
    unpublished = {
        run
        for name, run in left
        if (run > current.sources[name].run if name in current.sources else run == last_of[name])
    }
    # After a restore what was published since is newer than the current run, of whichever source it is.
    since = {item.run for item in found if item.run > current.run and item.key.startswith(layout.ledger(item.run))}
    pointed_at = RUN_NAME.findall(" ".join((current.ledger, *current.exports.values())))
    return {current.run, *newest, *unpublished, *since, *pointed_at}


def _source_of(layout: Layout, item: Leftover) -> str | None:
    """The source whose own rows the object holds, None where it holds none."""
    if item.key.startswith(layout.journals):
        name, _, _ = item.key.removeprefix(layout.journals).partition("/")
        return MAIN_SOURCE if name == item.run else name
    if item.key == layout.ledger_of(item.run, MAIN_SOURCE):
        return MAIN_SOURCE
    own = f"{layout.ledger(item.run)}source-"
    return item.key.removeprefix(own).removesuffix(".parquet") if item.key.startswith(own) else None


def _elsewhere(client: S3Client, layout: Layout, run: str) -> list[Leftover]:
    """The run's export, where its report names another bucket for it. A report of another run's export names that."""
    try:
        report = json.loads(client.get_object(Bucket=layout.bucket, Key=layout.report(run))["Body"].read())
        export = str(report["export"])
    except client.exceptions.ClientError as error:
        if is_missing(error):
            return []
        raise
    except (ValueError, TypeError, KeyError):
        return []
    bucket, prefix = split_object_uri(export)
    if not export.startswith("s3://") or prefix != f"{layout.dataset}/{run}/":
        return []
    try:
        return [Leftover(run, bucket, item.key, item.size) for item in list_objects(client, bucket, prefix)]
    except client.exceptions.ClientError as error:
        return [Leftover(run, bucket, prefix, 0, refused=_reason(error))]


def _remove(store: Store, client: S3Client, item: Leftover) -> Leftover:
    """One request for each object: the request for many needs a checksum that stores disagree on."""
    if item.refused:
        return item
    try:
        client.delete_object(Bucket=item.bucket, Key=item.key)
    except Exception as error:
        verdict = classify(error)
        if is_missing(error):
            return item
        if verdict.code in (Code.ACCESS_DENIED, Code.STORE_REFUSED, Code.STORE_BUSY):
            return Leftover(item.run, item.bucket, item.key, item.size, _reason(error))
        raise explain(error, "remove", str(item), store.url) from error
    return item


def _reason(error: Exception) -> str:
    verdict = classify(error)
    return verdict.reported or verdict.code
