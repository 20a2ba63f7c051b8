"""Keys for an object store, wherever they come from: given outright, a profile, a role, or the machine's own.

Each kind gives botocore's credentials object, which renews itself where the keys can be renewed. What a kind
needs of the store for that is a `Place`. A secret is in no repr.
"""

from __future__ import annotations

import codecs
import configparser
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from imagehaul.errors import Code, SettingsError, StoreError
from imagehaul.store.explanations import explain
from imagehaul.store.proxies import proxies_for
from imagehaul.store.service_descriptions import service_descriptions
from imagehaul.text import printable

if TYPE_CHECKING:
    from botocore.credentials import Credentials, ReadOnlyCredentials
    from botocore.session import Session
    from mypy_boto3_sts import STSClient

_LOG = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where a role is assumed. `url` "" is AWS; `ca_file` is the file of CAs that are trusted."""

    url: str
    region: str
    ca_file: str


@dataclass(frozen=True, slots=True)
class AccessKey:
    """Keys that are given outright; with a `session_token` they are temporary ones."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)

    def resolve(self, place: Place) -> Credentials:
        from botocore.credentials import Credentials

        keys = self.checked()
        return Credentials(keys.access_key, keys.secret_key, keys.session_token or None, method="explicit")

    def checked(self) -> AccessKey:
        """Raises SettingsError where these can be no keys."""
        if not (self.access_key and self.secret_key):
            missing = "secret key" if self.access_key else "access key"
            raise SettingsError(f"The store's keys are not whole: the {missing} is empty.")
        for name in ("access_key", "secret_key", "session_token"):
            value = getattr(self, name)
            if not value.isascii() or any(letter.isspace() for letter in value):
                raise SettingsError(
                    f"The store's {name.replace('_', ' ')} holds a blank, a line break or a letter that no key has."
                )
        return AccessKey(self.access_key, self.secret_key, self.session_token)


@dataclass(frozen=True, slots=True)
class ProfileKeys:
    """A profile of a credentials file: keys, a role with its source profile, SSO, or a process that gives keys.

    `credentials_file` "": the machine's own files, in ~/.aws; otherwise this one file holds all that is needed.
    """

    profile: str = "default"
    credentials_file: str = ""

    def resolve(self, place: Place) -> Credentials:
        from botocore.exceptions import ConfigParseError, ProfileNotFound
        from botocore.session import Session

        files, where = {}, self.credentials_file or "~/.aws"
        if self.credentials_file:
            if not Path(self.credentials_file).is_file():
                raise SettingsError(f"The credentials file {self.credentials_file} is not there.")
            if marked := _keys_behind_a_mark(self.credentials_file, self.profile):
                return marked
            files = {
                "credentials_file": (None, None, self.credentials_file, None),
                "config_file": (None, None, os.devnull, None),
            }
        _keep_secrets_from_logs()
        # botocore leaves the environment's keys out where a profile is named.
        try:
            with _naming(f"the profile {self.profile!r} in {where}"):
                found = Session(profile=self.profile, session_vars=files).get_credentials()
        except ProfileNotFound as error:
            raise SettingsError(f"There is no profile {self.profile!r} in {where}.") from error
        except ConfigParseError as error:
            raise SettingsError(f"The credentials file in {where} is malformed.") from error
        if found is None:
            raise SettingsError(f"The profile {self.profile!r} in {where} holds no keys.")
        return found


@dataclass(frozen=True, slots=True)
class MachineKeys:
    """What boto3 finds by itself: environment, ~/.aws, SSO, web identity, container or instance."""

    def resolve(self, place: Place) -> Credentials:
        from botocore.exceptions import NoCredentialsError
        from botocore.session import Session

        _keep_secrets_from_logs()
        with _naming(f"the profile {os.environ.get('AWS_PROFILE') or 'default'!r} of this machine"):
            found = Session().get_credentials()
        if found is None:
            raise NoCredentialsError
        return found


@dataclass(frozen=True, slots=True)
class RoleKeys:
    """A role that is assumed by STS, and again before the keys run out.

    `sts_url` "": the store's own URL, as MinIO and SeaweedFS have it, or AWS's where the store is AWS.
    `seconds`: how long the keys are asked for; a role allows an hour unless it says otherwise.
    """

    role_arn: str
    external_id: str = ""
    session_name: str = "imagehaul"
    base: AccessKey | ProfileKeys | MachineKeys = MachineKeys()
    sts_url: str = ""
    seconds: int = 3600

    def resolve(self, place: Place) -> Credentials:
        import boto3
        from botocore.config import Config
        from botocore.credentials import DeferredRefreshableCredentials
        from botocore.exceptions import BotoCoreError, ClientError

        url = self.sts_url or place.url
        sts: STSClient = boto3.Session(botocore_session=isolated_session(self.base.resolve(place))).client(
            "sts",
            endpoint_url=url or None,
            region_name=place.region,
            verify=place.ca_file,
            config=Config(
                connect_timeout=5,
                read_timeout=10,
                retries={"mode": "standard", "total_max_attempts": 2},
                proxies=proxies_for(url or f"https://sts.{place.region}.amazonaws.com"),
            ),
        )
        external: dict[str, Any] = {"ExternalId": self.external_id} if self.external_id else {}

        def assume() -> dict[str, str]:
            try:
                keys = sts.assume_role(
                    RoleArn=self.role_arn,
                    RoleSessionName=self.session_name,
                    DurationSeconds=self.seconds,
                    **external,
                )["Credentials"]
            except (BotoCoreError, ClientError) as error:
                raise explain(error, "assume", f"the role {self.role_arn}", url) from error
            return {
                "access_key": keys["AccessKeyId"],
                "secret_key": keys["SecretAccessKey"],
                "token": keys["SessionToken"],
                "expiry_time": keys["Expiration"].isoformat(),
            }

        return DeferredRefreshableCredentials(assume, "assume-role")


Keys = AccessKey | ProfileKeys | RoleKeys | MachineKeys


@contextmanager
def _naming(whose: str) -> Iterator[None]:
    """Turns what befalls a program that gives keys (`credential_process`) into a sentence that names its profile."""
    from botocore.exceptions import CredentialRetrievalError

    try:
        yield
    except (OSError, ValueError, KeyError, CredentialRetrievalError) as error:
        if isinstance(error, OSError):
            if not error.filename:
                raise
            why = f"its program {str(error.filename)!r} cannot be run ({error.strerror})"
        elif isinstance(error, CredentialRetrievalError):
            why = str(error).rstrip(".")
        else:
            why = "its credential_process does not print the JSON that it should"
        raise StoreError(
            f"The keys of {whose} cannot be had: {printable(why)}.\nCorrect the profile, or run its program by hand.",
            Code.ACCESS_DENIED,
        ) from None  # What a program printed may be a key.


class RenewableCredentials:
    """What all clients of a store sign with, in the shape of botocore's credentials.

    Keys that were read or asked for anew hold for the clients too that are at work already.
    """

    def __init__(self, resolve: Callable[[], Credentials]) -> None:
        self._resolve = resolve
        self._credentials = resolve()

    @property
    def method(self) -> str:
        return str(self._credentials.method)

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        with _naming("the store"):
            return self._credentials.get_frozen_credentials()

    def get_deferred_property(self, name: str) -> Callable[[], str | None]:
        return self._credentials.get_deferred_property(name)

    def renew(self) -> None:
        """Reads or asks for the keys anew."""
        self._credentials = self._resolve()


def freeze(credentials: RenewableCredentials) -> AccessKey:
    """The keys as they are now; those that can be renewed are so 10 minutes before they run out, at the latest."""
    now = credentials.get_frozen_credentials()
    return AccessKey(now.access_key or "", now.secret_key or "", now.token or "")


def isolated_session(credentials: Credentials | RenewableCredentials) -> Session:
    """A botocore session that looks at nothing but these keys: no variable, no file of settings."""
    from botocore.session import Session

    session = Session(session_vars=isolated_variables(Session))
    session.register_component("credential_provider", _Given(credentials))
    session.register_component("data_loader", service_descriptions())
    return session


def isolated_variables(session_class: type[Session]) -> dict[str, tuple[Any, Any, Any, Any]]:
    """botocore's own settings, each cut off from the variable and the file it would be read from."""
    _keep_secrets_from_logs()
    defaults = {
        name: (None, None, default, convert)
        for name, (_, _, default, convert) in session_class.SESSION_VARIABLES.items()
    }
    nowhere = (None, None, os.devnull, None)
    no_other_url = (None, None, True, None)
    return {
        **defaults,
        "config_file": nowhere,
        "credentials_file": nowhere,
        "ignore_configured_endpoint_urls": no_other_url,
    }


class _Given:
    """Stands where botocore would look for keys."""

    def __init__(self, credentials: Credentials | RenewableCredentials) -> None:
        self._credentials = credentials

    def load_credentials(self) -> Credentials | RenewableCredentials:
        return self._credentials


def _keep_secrets_from_logs() -> None:
    """At debug level botocore writes session tokens and the answers of STS into its log, keys and all."""
    for name, level in {
        "botocore": logging.INFO,
        "aiobotocore": logging.INFO,
        # A traceback of what is raised anyway.
        "botocore.credentials": logging.ERROR,
    }.items():
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, level))


def keys_from_environment(environ: Mapping[str, str], folder: Path) -> tuple[Keys, str]:
    """Keys and region where no block gives them: the environment, `.vl/aws_credentials`, or boto3's own chain.

    `folder`: the working folder, in which `.vl` may lie. The region is "" where nothing says one.
    Raises SettingsError: half a pair in the environment and no file, or a file that holds no keys.
    """
    region = environ.get("AWS_REGION", "").strip() or environ.get("AWS_DEFAULT_REGION", "").strip()
    access_key = environ.get("AWS_ACCESS_KEY_ID", "")
    secret_key = environ.get("AWS_SECRET_ACCESS_KEY", "")
    if access_key and secret_key:
        return AccessKey(access_key, secret_key, environ.get("AWS_SESSION_TOKEN", "")), region
    file = folder / ".vl" / "aws_credentials"
    half = ""
    if access_key or secret_key:
        there, missing = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
        if secret_key:
            there, missing = missing, there
        half = f"The environment holds {there} and no {missing}"
    if file.exists():
        if half:
            _LOG.warning("%s: the keys of %s are used.", half, file)
        return ProfileKeys("default", str(file)), _region_of(file) or region
    if half:
        raise SettingsError(f"{half}.\nSet both, or none of them.")
    return MachineKeys(), region or _region_of_machine()


def _keys_behind_a_mark(file: str, profile: str) -> Credentials | None:
    """The keys of a file that begins with a byte order mark, as Notepad writes one and botocore reads none; None
    where it does not. Raises SettingsError where it names a role, which botocore alone can assume."""
    from botocore.credentials import SharedCredentialProvider

    try:
        with Path(file).open("rb") as stream:
            if stream.read(3) != codecs.BOM_UTF8:
                return None
    except OSError:
        return None  # botocore says why.
    content = _parsed(Path(file))
    if profile in content and "role_arn" in content[profile]:
        raise SettingsError(
            f"The credentials file {file} begins with a byte order mark, so its role cannot be read.\n"
            "Save it as UTF-8 without the mark."
        )
    sections = {name: dict(content[name]) for name in content.sections()}
    return SharedCredentialProvider(file, profile, lambda _: sections).load()


def _parsed(file: Path) -> configparser.RawConfigParser:
    content = configparser.RawConfigParser()
    try:
        content.read_string(file.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The credentials file {file} cannot be read: {error}.") from error
    except configparser.Error as error:
        # The parser's own words show the line, which may be a key: not even as the cause do they go on.
        line = getattr(error, "lineno", 0) or next((at for at, _ in getattr(error, "errors", ())), 0)
        raise SettingsError(
            f"The credentials file {file} is malformed in line {line}. It must look like this:\n"
            "[default]\naws_access_key_id = …\naws_secret_access_key = …"
        ) from None
    return content


def _region_of(file: Path) -> str:
    """The region in the default profile of a credentials file, which must be there with whole keys, or a role."""
    content = _parsed(file)
    if not content.has_section("default"):
        raise SettingsError(f"The credentials file {file} has no [default] section.")
    default = content["default"]
    for name in () if "role_arn" in default else ("aws_access_key_id", "aws_secret_access_key"):
        if not default.get(name):
            raise SettingsError(f"The credentials file {file} has no {name} in its [default] section.")
    if file.stat().st_mode & 0o077:
        _LOG.warning("Others on this machine can read the keys in %s: chmod 600 mends that.", file)
    return default.get("region", "")


def _region_of_machine() -> str:
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    try:
        return Session().get_config_variable("region") or ""
    except BotoCoreError:
        return ""  # What is wrong with the profile is said when its keys are asked for.
