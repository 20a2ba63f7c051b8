"""The object store: one description, from which boto3, s3fs, s5cmd and obstore all get the same.

Endpoint, region, addressing, keys and CA are in the `Store`; no variable of the environment and no file in
~/.aws redirects any of them.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast
from urllib.parse import urlsplit

from imagehaul.bucket_terms import NO_TERMS, BucketTerms
from imagehaul.errors import Code, HaulError, SettingsError, StoreError
from imagehaul.store.ca import authority_file
from imagehaul.store.clients import (
    TO_CHECK,
    TO_CHECK_AND_WAIT,
    TO_WAIT,
    TO_WORK,
    ClientPatience,
    boto3_client,
    boto3_session,
    s3fs_filesystem,
)
from imagehaul.store.credentials import (
    AccessKey,
    Keys,
    MachineKeys,
    Place,
    RenewableCredentials,
    freeze,
    keys_from_environment,
)
from imagehaul.store.errors import classify
from imagehaul.store.explanations import Verb, explain
from imagehaul.store.plain_put import PlainPut, bucket_url
from imagehaul.store.proxies import is_this_machine, proxy_for
from imagehaul.store.reference import StoreReference

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from s3fs import S3FileSystem

Thing = TypeVar("Thing")
Addressing = Literal["auto", "path", "virtual"]

_MACHINE = MachineKeys()
_LOG = logging.getLogger(__name__)
_INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ")


@dataclass(frozen=True)
class Store:
    """An object store. `url` "" is AWS; `ca` is PEM text, the path of a PEM file, or "" for the system's CAs.

    `addressing` "auto": path style at a URL of its own, virtual hosts on AWS. `reference`: how another machine can
    make the same store without being told the keys; None = it cannot. `terms`: what each request says of its bucket.
    Raises SettingsError for a URL or region that is none.
    """

    url: str = ""
    region: str = "us-east-1"
    addressing: Addressing = "auto"
    credentials: Keys = _MACHINE
    ca: str = field(default="", repr=False)
    reference: StoreReference | None = field(default=None, compare=False)
    terms: BucketTerms = NO_TERMS

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", _checked_url(self.url))
        object.__setattr__(self, "region", _checked_region(self.region))

    def under(self, terms: BucketTerms) -> Store:
        """The same store, each request to which says these terms; on a worker elsewhere too."""
        return replace(self, terms=terms, reference=self.reference and replace(self.reference, terms=terms))

    def client(self) -> S3Client:
        """boto3's client, one for each process; threads share it."""
        return _made.get(self, ("boto3", self._ca_file), lambda: self._new_client(TO_WORK))

    def patient_client(self) -> S3Client:
        """The same for a run's own files and its listings: an outage of half a minute is waited for."""
        return _made.get(self, ("patient", self._ca_file), lambda: self._new_client(TO_WAIT))

    def plain_put(self, bucket: str) -> PlainPut:
        """A quicker way than boto3's for small objects, one for each process and bucket; threads share it."""
        key = "put", bucket, self._ca_file
        return _made.get(self, key, lambda: PlainPut(self, self.client(), self._credentials(), bucket))

    def filesystem(self) -> S3FileSystem:
        """s3fs's file system, one for each process. It remembers no listing."""
        return _made.get(self, ("s3fs", self._ca_file), lambda: s3fs_filesystem(self, self._credentials()))

    def keys(self) -> AccessKey:
        """The keys as they are now: for a program that sends, anew for each batch."""
        with self.explaining("read", "the keys"):
            if isinstance(self.credentials, AccessKey):
                return self.credentials.checked()  # without botocore, which a process for batches may do without
            return freeze(self._credentials())

    def renew(self) -> None:
        """Reads or asks for the keys anew, for the clients at work too; the next client is a new one."""
        with self.explaining("read", "the keys"):
            self._credentials().renew()
        _made.forget_clients(self)

    def environment(self) -> dict[str, str]:
        """The whole environment of a program that sends: these keys, region and CA, and no other of the machine's."""
        kept = {name: value for name, value in os.environ.items() if name in _INHERITED}
        if proxy := proxy_for(self.endpoint):
            kept |= {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy}
        keys = self.keys()
        return {
            **kept,
            "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            **({"AWS_SESSION_TOKEN": keys.session_token} if keys.session_token else {}),
            "AWS_REGION": self.region,
            "AWS_CA_BUNDLE": self._ca_file,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def endpoint(self) -> str:
        """The URL that requests go to, or the like: AWS has one for each bucket."""
        return self.url or f"https://s3.{self.region}.amazonaws.com"

    def s5cmd_options(self) -> list[str]:
        """What goes before s5cmd's command: where the store is, and who pays.

        It uses path style wherever a URL is given.
        """
        payer = ["--request-payer", self.terms.request_payer] if self.terms.request_payer else []
        if self.url:
            return [*payer, "--endpoint-url", self.url]
        if self.addressing == "path":
            return [*payer, "--endpoint-url", self.client().meta.endpoint_url]
        return payer

    def s5cmd_obstacle(self) -> str:
        """Why s5cmd cannot reach this store as it is to be reached; "" where it can."""
        if self.terms.expected_owner:
            return "s5cmd has no header for EXPECTED_BUCKET_OWNER"
        if self.url and self.addressing == "virtual":
            return "s5cmd has no virtual-host addressing at a URL of the store's own"
        if is_this_machine(self.endpoint) and proxy_for(self.endpoint):
            return "s5cmd sends nothing to this very machine through a proxy"
        return ""

    def address(self, bucket: str) -> tuple[str, bool]:
        """The URL of the bucket's objects as obstore wants it, and whether the bucket stands in its host's name.

        As boto3 has it: at some hosts, such as s3-accelerate's, it goes virtual by itself. Where the bucket stands in
        the path, obstore puts it there.
        """
        url = bucket_url(self.client(), bucket).rstrip("/")
        in_path = url.endswith(f"/{bucket}")
        return url.removesuffix(f"/{bucket}"), not in_path

    def check(self, bucket: str, prefix: str = "", wait: bool = False, setting: str = "") -> None:
        """Asks the store whether it can be listed; within about 15 seconds. `prefix` is "" or ends in "/".

        `wait`: for a store that is away, half a minute more. `setting`: what names the bucket.
        Raises StoreError, SettingsError: what is wrong, and what to do, in one to three lines.
        """
        from botocore.exceptions import ClientError
        from botocore.parsers import ResponseParserError

        _say_unencrypted(self.url)
        with self.explaining("list", f"s3://{bucket}/{prefix}"):
            client = _made.alone(lambda: self._new_client(TO_CHECK_AND_WAIT if wait else TO_CHECK))
            try:
                listing = client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
            except ClientError as error:
                self._refuse_other_owner(error, bucket, prefix, wait, setting)
                said = classify(error).reported
                if setting and classify(error).code == Code.BUCKET_MISSING:
                    raise StoreError(
                        f"The store at {self.url or 'AWS'} has no bucket {bucket!r} ({said}).\n"
                        f"Create the bucket, or correct {setting}.",
                        Code.BUCKET_MISSING,
                    ) from error
                if said not in ("400", "404", "405", "500"):
                    raise
                raise self._no_store(f"{said} without a reason") from error
            except ResponseParserError as error:
                raise self._no_store("no XML") from error
            if "Name" not in listing:
                raise self._no_store("the bucket's name is missing")

    def _refuse_other_owner(self, error: Exception, bucket: str, prefix: str, wait: bool, setting: str) -> None:
        """Raises SettingsError where the bucket can be listed as long as no owner is asked for, else what that says."""
        owner = self.terms.expected_owner
        if bucket not in self.terms.owned or not owner or classify(error).code != Code.ACCESS_DENIED:
            return
        self.under(replace(self.terms, expected_owner="")).check(bucket, prefix, wait, setting)
        raise SettingsError(
            f"The bucket {bucket!r} does not belong to the account {owner}, as EXPECTED_BUCKET_OWNER says.\n"
            "Nothing was written. See whose bucket it is before you change the setting."
        ) from error

    def _no_store(self, said: str) -> StoreError:
        """Every S3 server says why it refuses, and gives the bucket's name in a listing."""
        tls = ", and a port with TLS wants https://" if self.url.startswith("http://") else ""
        return StoreError(
            f"What answers at {self.url or 'AWS'} does not speak S3: {said}.\n"
            f"Check host and port: a store's console often has another port than its S3 API{tls}."
        )

    @contextmanager
    def explaining(self, verb: Verb, what: str) -> Iterator[None]:
        """Turns a store's error in its block into a StoreError. Such as "list", "s3://bucket/prefix/"."""
        try:
            yield
        except HaulError:
            raise
        except Exception as error:
            raise explain(error, verb, what, self.url) from error

    def _new_client(self, patience: ClientPatience) -> S3Client:
        session = _made.get(self, "session", lambda: boto3_session(self._credentials()))
        return boto3_client(self, session, self._credentials(), patience)

    def _credentials(self) -> RenewableCredentials:
        def place() -> Place:
            return Place(self.url, self.region, self._ca_file)

        return _made.get(self, "keys", lambda: RenewableCredentials(lambda: self.credentials.resolve(place())))

    @property
    def _ca_file(self) -> str:
        """What is made of the store goes by it: where a file of ours was cleaned away, there is another one now, and
        clients of the old one connect no more."""
        return authority_file(self.ca)


def store_from_environment(object_store_url: str, environ: Mapping[str, str], folder: Path) -> Store:
    """The store where no block gives it. `folder`: the working folder, in which `.vl/aws_credentials` may lie.

    Keys: a complete pair in the environment, else the file, else boto3's own chain. CA: AWS_CA_BUNDLE.
    """
    keys, region = keys_from_environment(environ, folder)
    elsewhere = next((name for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") if environ.get(name)), "")
    if elsewhere and not object_store_url:
        _LOG.warning("%s is set, and is not read: the store is AWS. Set OBJECT_STORE_URL for another.", elsewhere)
    return Store(
        url=object_store_url,
        region=region or "us-east-1",
        credentials=keys,
        ca=environ.get("AWS_CA_BUNDLE", ""),
        reference=StoreReference("environment", object_store_url),
    )


class _Made:
    """What was made of each store, in each process: a connection must not be shared with a forked child."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, Store], dict[object, Any]] = {}
        self._new_lock()
        # In a child that was forked while a thread held it, it would be held for ever.
        os.register_at_fork(after_in_child=self._new_lock)

    def _new_lock(self) -> None:
        self._lock = threading.RLock()

    def get(self, store: Store, what: object, make: Callable[[], Thing]) -> Thing:
        with self._lock:
            made = self._made.setdefault((os.getpid(), store), {})
            if what not in made:
                made[what] = make()
            return cast(Thing, made[what])

    def alone(self, make: Callable[[], Thing]) -> Thing:
        """What is made while nobody else makes anything, and is not kept."""
        with self._lock:
            return make()

    def forget_clients(self, store: Store) -> None:
        with self._lock:
            made = self._made.get((os.getpid(), store), {})
            for what in [what for what in made if what != "keys"]:
                del made[what]


_made = _Made()


def _checked_url(url: str) -> str:
    url = url.strip().rstrip("/")
    if not url:
        return ""
    if "@" in url:
        raise SettingsError("The object store's URL holds keys. Take them out, and give them by themselves.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    named = re.fullmatch(r"[\w.:-]+", host) and not re.search(r"\s", url)
    if not url.startswith(("http://", "https://")) or not named or port == 0:
        raise SettingsError(f"The object store's URL {url!r} is none. Write it as http://host:port or https://host.")
    if parts.query or parts.fragment:
        raise SettingsError(f"The object store's URL {url!r} must not hold '?' or '#'.")
    return url


def _checked_region(region: str) -> str:
    """As botocore wants it, whose refusal would be taken for the store's."""
    region = region.strip()
    if not re.fullmatch(r"(?!\d+$)(?!-)[A-Za-z0-9-]{,63}(?<!-)", region):
        raise SettingsError(
            f"The store's region {region!r} is none: it has letters, digits and '-' alone, as eu-west-1 has.\n"
            "Correct AWS_REGION, the line of the credentials file, or the block's field."
        )
    return region or "us-east-1"


_said_unencrypted: set[str] = set()


def _say_unencrypted(url: str) -> None:
    if url.startswith("http://") and url not in _said_unencrypted:
        _said_unencrypted.add(url)
        _LOG.warning("No TLS to the object store: what goes to %s can be read and changed on its way.", url)
