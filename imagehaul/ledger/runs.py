"""The runs of a data set in the store: what earlier ones left, and how a new one becomes current.

A run delivers one of the data set's sources, and its ledger carries the rows of all others in a file of their own. So a
source's earlier runs are the one that was published last, whichever source it delivered, and those that came after it.

A run that works leaves a journal under `.imagehaul/journal/`, part by part as its batches finish, so that a
killed run loses the batches in flight at most. At its end the proven rows become `runs/<run>/ledger/`, and the
journal goes. Readers never see a row that is not final.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagehaul.errors import LockedError, StoreError
from imagehaul.layout import MAIN_SOURCE, RUN_NAME, Layout
from imagehaul.ledger.inventory import EarlierRun
from imagehaul.ledger.rows import SCHEMA_NUMBER
from imagehaul.store.conditional_writes import Capabilities
from imagehaul.store.errors import is_missing
from imagehaul.store.files import OwnFiles, fetch_files, read_body
from imagehaul.store.listing import list_folders, list_objects

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_DELETES_AT_ONCE = 16
"""A journal has an object for each batch, and a store far away takes 50 ms to remove one."""


@dataclass(frozen=True, slots=True)
class PublishedSource:
    """What `current.json` says of one source: the last published run that delivered it.

    `time`: of that, in ISO 8601. `source`: as SOURCE was given. `images`: in the index. `rows`: of the ledger; -1 = not
    known. `fingerprint`: what was said of its images. `originals`, `source_cdn_fullpath`, `key_prefix`: where its
    originals stay, see `entity.OriginalsInPlace`; "" = they are stored.
    """

    run: str
    time: str = ""
    source: str = ""
    images: int = 0
    rows: int = -1
    counts: dict[str, int] = field(default_factory=dict)
    fingerprint: str = ""
    originals: str = ""
    source_cdn_fullpath: str = ""
    key_prefix: str = ""


@dataclass(frozen=True, slots=True)
class Current:
    """What `current.json` says: the run that readers should use.

    `ledger`: a URI that ends in `/`. `exports`: name → URI; one that ends in `/` is a folder.
    `counts`, `fingerprint`: of the source that the run delivered. `made_with`: a digest of the settings that exports of
    all sources depend on, "" = not known. `created`: when the data set was first published, in ISO 8601. `sources`: all
    that are in the index, by name. `etag`: of the object that says so.
    """

    run: str
    ledger: str
    exports: dict[str, str]
    fingerprint: str
    counts: dict[str, int]
    created: str = ""
    sources: dict[str, PublishedSource] = field(default_factory=dict)
    made_with: str = ""
    etag: str = field(default="", compare=False)

    def as_publication(self) -> dict[str, Any]:
        """What a report keeps of it, besides what a summary says: for a restore."""
        sources = {name: asdict(source) for name, source in sorted(self.sources.items())}
        return {"made_with": self.made_with, "sources": sources}

    @property
    def total(self) -> dict[str, int]:
        """The counts of all sources, but for what was sent."""
        names = ("planned", "delivered", "unchanged", "rejected", "failed")
        return {name: sum(source.counts.get(name, 0) for source in self.sources.values()) for name in names}


def read_current(client: S3Client, layout: Layout) -> Current | None:
    """None where nothing was published yet. Raises `StoreError` where it is there and is not ours."""
    import orjson

    try:
        answer = client.get_object(Bucket=layout.bucket, Key=layout.current)
        body = answer["Body"].read()
    except client.exceptions.ClientError as error:
        if is_missing(error):
            return None
        raise
    try:
        said = orjson.loads(body)
        if said["schema"] != SCHEMA_NUMBER:
            raise StoreError(
                f"{layout.uri(layout.current)} has schema {said['schema']!r}, and this imagehaul reads "
                f"{SCHEMA_NUMBER}.\nUse the version that wrote it, or a newer one."
            )
        texts = [said["run"], said["ledger"], said["exports"]["json"], said["fingerprint"], said["time"]]
        texts += said["exports"].values()
        if not all(isinstance(text, str) for text in texts) or not RUN_NAME.fullmatch(said["run"]):
            raise TypeError
        return Current(
            run=said["run"],
            ledger=said["ledger"],
            exports=dict(said["exports"]),
            fingerprint=said["fingerprint"],
            counts=dict(said["counts"]),
            created=said.get("created", said["time"]),
            sources=sources_of(said),
            made_with=str(said.get("made_with", "")),
            etag=answer["ETag"],
        )
    except orjson.JSONDecodeError as error:
        raise _foreign(layout, "it is not valid JSON") from error
    except KeyError as error:
        raise _foreign(layout, f"it does not say {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise _foreign(layout, "a value in it has another form") from error


def sources_of(said: dict[str, Any]) -> dict[str, PublishedSource]:
    """What was written before there could be several is one, of the name `main`.

    Raises KeyError, TypeError, ValueError and AttributeError for what has another form.
    """
    if "sources" in said:
        return {str(name): _source_of(one) for name, one in said["sources"].items()}
    counts = dict(said["counts"])
    images = int(counts.get("delivered", 0)) + int(counts.get("unchanged", 0))
    fingerprint = said["fingerprint"]
    return {
        MAIN_SOURCE: PublishedSource(said["run"], said["time"], images=images, counts=counts, fingerprint=fingerprint)
    }


def _source_of(said: dict[str, Any]) -> PublishedSource:
    """Fields that are not known are a newer version's."""
    known = {item.name for item in fields(PublishedSource)}
    source = PublishedSource(**{key: value for key, value in said.items() if key in known})
    empty = PublishedSource(run="")
    if wrong := [name for name in known if type(getattr(source, name)) is not type(getattr(empty, name))]:
        raise TypeError(f"{wrong[0]} has another type")
    return source


def _foreign(layout: Layout, why: str) -> StoreError:
    return StoreError(
        f"{layout.uri(layout.current)} is not what imagehaul writes: {why}.\n"
        "If another program wrote it, choose another data set name; else delete it: the next run writes it anew."
    )


class Runs:
    """The small files of a data set: ledgers, journals, reports and exports."""

    def __init__(self, layout: Layout, files: OwnFiles) -> None:
        self.layout = layout
        self._files, self._client = files, files.client

    def earlier_names(self, current: Current | None, source_name: str = MAIN_SOURCE) -> tuple[str, ...]:
        """The current run, those that left rows of this source after its published one, and the last of all. Sorted.

        Where none of this source is published, all that left rows of it.
        """
        known = current.sources.get(source_name) if current else None
        since = known.run if known else ""
        keys = self._keys(self.layout.runs)
        there = {run for key in keys if RUN_NAME.fullmatch(run := key.removeprefix(self.layout.runs).partition("/")[0])}
        left = {run for run in there if self.layout.ledger_of(run, source_name) in keys}
        left |= (journals := self._run_names(self.layout.journals_of(source_name)))
        wanted = {run for run in left if run > since} | {max(there | journals, default="")}
        if current:
            wanted.add(current.run)
        return tuple(sorted(wanted & (there | journals)))

    def earlier(
        self, names: Iterable[str], current: Current | None, scratch: Path, source_name: str = MAIN_SOURCE
    ) -> list[EarlierRun]:
        """What these runs left: the ledger, or a journal where there is none. Downloads it.

        Of the current run the rows of all sources. One that left no rows has no `files`.
        """
        found: list[EarlierRun] = []
        for name in names:
            published, folder = current is not None and name == current.run, scratch / "earlier" / name
            ledger = self.layout.ledger(name) if published else self.layout.ledger_of(name, source_name)
            files = self._download(ledger, folder) or self._download(self.layout.journal(name, source_name), folder)
            found.append(EarlierRun(name, tuple(files), published))
        return found

    def upload(self, file: Path, key: str, bucket: str = "") -> str:
        """The URI of the object."""
        self._files.send(file, bucket or self.layout.bucket, key)
        return f"s3://{bucket or self.layout.bucket}/{key}"

    def keep_journal(self, run: str, source_name: str, number: int, rows: bytes) -> None:
        """One batch's rows, as `ledger.rows` writes them. Raises what the client raises."""
        key = f"{self.layout.journal(run, source_name)}part-{number:05d}.parquet"
        self._files.put(self.layout.bucket, key, rows, ContentType="application/vnd.apache.parquet")

    def read_object(self, key: str) -> bytes:
        return read_body(self._client, self.layout.bucket, key, lambda body: body.read())

    def write_json(self, key: str, content: dict[str, Any]) -> None:
        self._put_json(key, content, {})

    def _put_json(self, key: str, content: dict[str, Any], condition: dict[str, Any]) -> str:
        """The ETag; "" where the store refuses the condition."""
        import orjson

        body = orjson.dumps(content, option=orjson.OPT_INDENT_2)
        headers = {"ContentType": "application/json", "CacheControl": "no-cache"}
        return self._files.put(self.layout.bucket, key, body, condition, **headers)

    def publish(self, current: Current, over: Current | None, capabilities: Capabilities) -> None:
        """The last thing that a run writes: from here on readers see it. `over`: what was current when it began.

        Raises LockedError where something else is current by now: a run that slept past its lease points nobody
        to what it knows. A condition that the store refuses, or does not have, is looked at before that is said.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        pointer = {
            "schema": SCHEMA_NUMBER,
            "dataset": self.layout.dataset,
            "run": current.run,
            "ledger": current.ledger,
            "exports": current.exports,
            "counts": current.counts,
            "fingerprint": current.fingerprint,
            "total": current.total,
            **current.as_publication(),
            "created": current.created or now,
            "time": now,
        }
        condition = capabilities.condition(over.etag if over else "")
        if condition and self._put_json(self.layout.current, pointer, condition):
            return
        there = read_current(self._client, self.layout)
        if there and there.run == current.run:
            return  # The first attempt's answer was lost, and its write was not.
        if (there.etag if there else "") == (over.etag if over else ""):
            self._put_json(self.layout.current, pointer, {})
            return
        by = f"run {there.run} is current now" if there else "it is gone now"
        raise LockedError(
            f"{self.layout.uri(self.layout.current)} was changed while this run worked: {by}.\n"
            "This run is not published. Run again: only what is missing is sent."
        )

    def drop_journals(self, until: str, source_name: str = MAIN_SOURCE) -> None:
        """Of the source's runs up to `until`, whose rows are in a ledger now. What the key may not delete stays."""
        names = self._run_names(self.layout.journals_of(source_name))
        with ThreadPoolExecutor(_DELETES_AT_ONCE, thread_name_prefix="journals") as threads:
            for name in sorted(names):
                if name <= until:
                    keys = self._keys(self.layout.journal(name, source_name))
                    with suppress(self._client.exceptions.ClientError):
                        list(threads.map(self._delete, keys))

    def _delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self.layout.bucket, Key=key)

    def _run_names(self, prefix: str) -> set[str]:
        names = list_folders(self._client, self.layout.bucket, prefix)
        return {name for name in names if RUN_NAME.fullmatch(name)}

    def _keys(self, prefix: str) -> dict[str, None]:
        """In order."""
        return {item.key: None for item in list_objects(self._client, self.layout.bucket, prefix)}

    def _download(self, prefix: str, folder: Path) -> list[Path]:
        keys = [key for key in self._keys(prefix) if key.endswith(".parquet")]
        files = [folder / f"{number:05d}.parquet" for number in range(len(keys))]
        if keys:
            folder.mkdir(parents=True)
            fetch_files(self._client, self.layout.bucket, keys, files)
        return files
