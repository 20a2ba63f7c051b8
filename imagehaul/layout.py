"""Where everything of one data set lies in the store."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from imagehaul.errors import SettingsError
from imagehaul.url_secrets import without_secrets

DATASET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TIME = "%Y%m%dT%H%M%SZ"
RUN_NAME = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
MARKS = ".imagehaul/"
MAIN_SOURCE = "main"
"""The name of a data set's source where nobody gives one."""
GALLERY = "gallery/"
"""In the folder of a run's exports: what is served beside the images, as nothing else there is."""
RENDITION_KINDS = {"images/": "image", "thumbnails/": "thumbnail", "crops/": "crop"}


def checked_source_name(name: str) -> str:
    """Raises `SettingsError` for what cannot be the name of a source."""
    if not DATASET_NAME.fullmatch(name) or RUN_NAME.fullmatch(name):
        raise SettingsError(
            f"The source name {name!r} cannot be used. Take letters, digits, '.', '_' and '-', up to 100, beginning "
            "with a letter or a digit."
        )
    return name


AN_ARN = (
    "is an ARN, which s5cmd and obstore cannot address: "
    "write the bucket's name, or the access point's alias (…-s3alias)"
)


def new_run_name(after: str = "") -> str:
    """Time and chance, `20261122T101500Z-1f3a9c`: names sort by time, and behind the run `after` in any case.

    Clocks of several machines differ, and a run may have waited long for its turn.
    """
    now = datetime.now(UTC)
    if after:
        now = max(now, datetime.strptime(after.partition("-")[0], _TIME).replace(tzinfo=UTC) + timedelta(seconds=1))
    return f"{now:{_TIME}}-{secrets.token_hex(3)}"


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Bucket and key prefix; the prefix ends in `/`, or is "" for the bucket's root.

    `s3://b/img` means `img/` and never `img2/`. Raises `SettingsError` where it is no such URI.
    """
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if uri.startswith("s3://arn:"):
        raise SettingsError(f"{uri!r} {AN_ARN}.")
    if uri.startswith("s3://") and "@" in bucket:
        raise SettingsError(
            f"{without_secrets(uri)!r} was written with a user or keys before the bucket, and others will read them: "
            "leave them out."
        )
    if not uri.startswith("s3://") or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.\-_]{1,254}", bucket):
        raise SettingsError(f"{uri!r} names no bucket. Write s3://bucket/prefix/.")
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    return bucket, prefix


def split_object_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`, as it stands: nothing is checked. "" for what is not there."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


@dataclass(frozen=True, slots=True)
class Layout:
    """The keys of one data set. `prefix` is REMOTE_SAVE's, "" or ending in `/`."""

    bucket: str
    prefix: str
    dataset: str

    @classmethod
    def of(cls, remote_save: str, dataset: str) -> Layout:
        """Raises `SettingsError` for a data set name or a target that the store must not get."""
        if not DATASET_NAME.fullmatch(dataset):
            raise SettingsError(
                f"The data set name {dataset!r} cannot be used. Take letters, digits, '.', '_' and '-', up to 100, "
                "beginning with a letter or a digit."
            )
        bucket, prefix = split_s3_uri(remote_save)
        return cls(bucket, prefix, dataset)

    @property
    def root(self) -> str:
        return f"{self.prefix}{self.dataset}/"

    @property
    def images(self) -> str:
        return f"{self.root}images/"

    @property
    def thumbnails(self) -> str:
        return f"{self.root}thumbnails/"

    @property
    def crops(self) -> str:
        return f"{self.root}crops/"

    @property
    def runs(self) -> str:
        return f"{self.root}runs/"

    @property
    def exports(self) -> str:
        return f"{self.root}exports/"

    @property
    def current(self) -> str:
        return f"{self.root}current.json"

    @property
    def marks(self) -> str:
        return f"{self.root}{MARKS}"

    @property
    def journals(self) -> str:
        return f"{self.marks}journal/"

    def journals_of(self, source_name: str) -> str:
        return self.journals if source_name == MAIN_SOURCE else f"{self.journals}{source_name}/"

    def journal(self, run: str, source_name: str = MAIN_SOURCE) -> str:
        return f"{self.journals_of(source_name)}{run}/"

    def ledger(self, run: str) -> str:
        return f"{self.runs}{run}/ledger/"

    def ledger_of(self, run: str, source_name: str) -> str:
        """The file with the rows of the source that the run delivered; those of all others lie beside it."""
        return self.ledger(run) + ("part-00001" if source_name == MAIN_SOURCE else f"source-{source_name}") + ".parquet"

    def ledger_of_others(self, run: str) -> str:
        return f"{self.ledger(run)}others.parquet"

    def report(self, run: str) -> str:
        return f"{self.runs}{run}/report.json"

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def below_remote_save(self, key: str) -> str:
        return key.removeprefix(self.prefix)
