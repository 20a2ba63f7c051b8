"""What a setting's value must be, beyond its type. Each check gives the value as it is kept.

The words of a `ValueError` follow the flag and its value in the message that the user reads: what is wrong,
and how it is mended.
"""

from __future__ import annotations

import json
import os
import re
from typing import get_args
from urllib.parse import urlsplit

from pydantic import WithJsonSchema

from imagehaul.errors import SettingsError
from imagehaul.layout import AN_ARN, split_s3_uri
from imagehaul.records import ExportName
from imagehaul.text import printable

ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")
"""Storage classes whose objects cannot be read before they are restored.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html"""

_NO_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_URL_CHARACTERS = re.compile(r"[!#-;=?-Z\[\]_a-z~]*")
_SCHEME = re.compile(r"^s3:/*", re.IGNORECASE)
_AN_ENDPOINT = "takes an endpoint such as http://minio:9000 or https://s3.example.com"


def text(value: str) -> str:
    if _NO_TEXT.search(value):
        raise ValueError("has a control character in it, or one that is not Unicode: leave it out")
    return value


def share(value: object) -> object:
    """`10%` is 0.1."""
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)? ?%", value):
        return float(value.rstrip(" %")) / 100
    return value


def globs(value: object) -> object:
    """As `parts`; the items of a list stand as they are, so that a glob with a comma can be written."""
    return parts(value) if isinstance(value, str) else value


def parts(value: str) -> list[str]:
    """`a,b` or `["a", "b"]`; a glob such as `[ab]*.jpg` begins like the latter and is none."""
    try:
        items = json.loads(value)
    except ValueError:
        items = None
    if not (isinstance(items, list) and all(isinstance(item, str) for item in items)):
        items = value.split(",")
    return [item.strip() for item in items]


def words(value: object) -> object:
    """As `globs`; no word has a comma in it, so the items of a list are parted as well."""
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return [word for item in value for word in parts(item)]
    return globs(value)


EXPORTS_IN_FORMS = WithJsonSchema(
    {"type": "array", "items": {"type": "string", "enum": [*get_args(ExportName), "all"]}}
)
"""Prefect compares what a form holds with the schema, before any validator."""


def exports(value: object) -> object:
    """As `words`; `all` names every export. In the order of their definition, each once."""
    names = words(value)
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        return value
    known = get_args(ExportName)
    wanted = {name for name in names if name}
    if unknown := [name for name in names if name and name not in (*known, "all")]:
        shown = ", ".join(map(printable, unknown))
        raise ValueError(f"names no export: {shown}. Write some of {', '.join(known)}, or all")
    return tuple(name for name in known if name in wanted or "all" in wanted)


def without_blanks(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text(item) for item in value if item)


def target(value: str) -> str:
    if not value:
        raise ValueError("is required: write s3://bucket/prefix/")
    if re.match(r"https?://", value):
        path = value.partition("://")[2].partition("/")[2].strip("/")
        raise ValueError(f"is a server's address: write s3://{path or 'bucket'}/, and the server in OBJECT_STORE_URL")
    value = re.sub(r"^S3://", "s3://", value)
    if "://" not in value:
        if value.startswith(("/", ".", "~")):
            raise ValueError("is a folder of this machine: write s3://bucket/prefix/")
        raise ValueError(f"write s3://{_SCHEME.sub('', value).strip('/') or 'bucket/prefix'}/")
    if value.startswith("s3://arn:"):
        raise ValueError(AN_ARN)
    try:
        bucket, prefix = split_s3_uri(value)
    except SettingsError:
        raise ValueError("names no bucket: write s3://bucket/prefix/") from None
    if any(part in ("", ".", "..") for part in prefix.split("/")[:-1]):
        raise ValueError("has an empty part, '.' or '..' in its prefix, which browsers rewrite: leave it out")
    return f"s3://{bucket}/{prefix}"


def key_prefix(value: str) -> str:
    parts = value.strip("/").split("/")
    if value and any(part in ("", ".", "..") for part in parts):
        raise ValueError("has an empty part, '.' or '..' in it: write it as partner/2026")
    return f"{'/'.join(parts)}/" if value else ""


def url_root(value: str) -> str:
    if not _URL_CHARACTERS.fullmatch(value):
        raise ValueError("has a character that no URL has: percent-encode it")
    if re.match(r"https?://", value):
        _refuse_user(value)
    elif not value.startswith("/") or value.startswith("//"):
        raise ValueError("begin it with one '/', or with http:// or https://")
    if "?" in value or "#" in value:
        raise ValueError("what follows '?' or '#' would stand in the middle of each URL: leave it out")
    return value


def bare_bucket(value: str) -> str:
    if not value:
        return value
    name = _SCHEME.sub("", value).strip("/").partition("/")[0]
    if name.startswith("arn:"):
        raise ValueError(AN_ARN)
    if value != name:
        raise ValueError(f"takes the bucket's bare name: write {name or 'mybucket'}")
    try:
        split_s3_uri(f"s3://{value}")
    except SettingsError:
        raise ValueError("is no bucket's name: write it as mybucket") from None
    return value


def endpoint(value: str) -> str:
    if not value:
        return value
    if "://" not in value:
        raise ValueError(f"write http://{value} or https://{value}")
    if not re.match(r"https?://", value):
        raise ValueError(_AN_ENDPOINT)
    _refuse_user(value)
    if not re.fullmatch(r"https?://[^/?#\\\s]+/*", value):
        raise ValueError("is more than scheme, host and port: bucket and prefix go into REMOTE_SAVE or SOURCE")
    return value.rstrip("/")


def source_root(value: str) -> str:
    if re.match(r"https?://", value):
        _refuse_user(value)
        if "?" in value or "#" in value:
            raise ValueError("is the beginning of addresses: leave out what follows '?' or '#'")
    return value


def header(value: str) -> str:
    if not value.isascii():
        raise ValueError("a header holds ASCII characters only")
    return value


def storage_class(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]*", value):
        raise ValueError("is no storage class: write it as STANDARD_IA")
    if value in ARCHIVES:
        raise ValueError("nobody could look at an image before it is restored: GLACIER_IR can be read at once")
    return value


def account(value: str) -> str:
    if not re.fullmatch(r"(\d{12})?", value):
        raise ValueError("is no AWS account: write its 12 digits, as 123456789012")
    return value


def folder(value: str) -> str:
    if set(value) & set("*?[]\\"):
        # DuckDB would take them for a pattern, and a backslash for a slash.
        raise ValueError("holds one of * ? [ ] \\: name another folder")
    return file(value)


def file(value: str) -> str:
    return os.path.expanduser(value)  # noqa: PTH111 - pathlib's raises where there is no such user


def _refuse_user(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        # Its words may hold a part of a password, where that has a '/' in it.
        raise ValueError("is no URL: check host and port") from None
    if "@" in parts.netloc:
        raise ValueError("holds a user's name or password, and others will read it: leave them out")
    if not host:
        raise ValueError("names no host")
