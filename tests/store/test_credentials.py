from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from imagehaul.errors import SettingsError, StoreError
from imagehaul.local.embedded_store import EmbeddedStore
from imagehaul.store.credentials import AccessKey, MachineKeys, ProfileKeys, RoleKeys
from imagehaul.store.endpoint import Store, store_from_environment
from tests.support.answering import Answer, Answering

pytestmark = pytest.mark.every_store

SECRET, TOKEN = "s3cr3t-of-the-key", "t0ken-of-the-session"
PAIR = {"AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": SECRET}
ROLE = "arn:aws:iam::role/Hauler"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with keys in `.vl/aws_credentials`."""
    (tmp_path / ".vl").mkdir()
    file = tmp_path / ".vl" / "aws_credentials"
    file.touch(0o600)
    file.write_text(f"[default]\naws_access_key_id = FILE\naws_secret_access_key = {SECRET}\nregion = eu-west-1\n")
    return tmp_path


# The order without a block.


def test_a_whole_pair_in_the_environment_comes_first(folder: Path) -> None:
    store = store_from_environment("http://h", {**PAIR, "AWS_SESSION_TOKEN": TOKEN, "AWS_REGION": "ap-1"}, folder)
    assert store.keys() == AccessKey("ENV", SECRET, TOKEN)
    assert store.region == "ap-1"


def test_then_the_file_in_the_working_folder_with_its_region(folder: Path) -> None:
    store = store_from_environment("http://h", {"AWS_REGION": "ap-1"}, folder)
    assert store.keys() == AccessKey("FILE", SECRET)
    assert store.region == "eu-west-1"


@pytest.mark.parametrize(
    ("given", "region"), [("eu-west-1\r", "eu-west-1"), (" eu-west-1\n", "eu-west-1"), (" ", "us-east-1")]
)
def test_blanks_around_the_region_are_not_of_it(given: str, region: str, tmp_path: Path) -> None:
    assert store_from_environment("http://h", {**PAIR, "AWS_REGION": given}, tmp_path).region == region


def test_a_region_that_is_none_is_refused_before_the_store_is_asked(folder: Path) -> None:
    file = folder / ".vl" / "aws_credentials"
    file.write_text(file.read_text().replace("eu-west-1", "eu west 1"))
    with pytest.raises(SettingsError, match="region 'eu west 1' is none"):
        store_from_environment("http://h", {}, folder)


def test_the_files_keys_are_not_mixed_with_the_environments(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**PAIR, "AWS_SESSION_TOKEN": TOKEN, "AWS_PROFILE": "nobody"}.items():
        monkeypatch.setenv(name, value)
    assert store_from_environment("", {}, folder).keys() == AccessKey("FILE", SECRET)


def test_then_what_boto3_finds_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    own.write_text(
        f"[default]\nregion = us-west-2\n[profile work]\naws_access_key_id = W\naws_secret_access_key = {SECRET}"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(own))
    monkeypatch.setenv("AWS_PROFILE", "work")
    store = store_from_environment("", {}, tmp_path)
    assert store.credentials == MachineKeys()
    assert store.keys() == AccessKey("W", SECRET)
    monkeypatch.delenv("AWS_PROFILE")
    assert store_from_environment("", {}, tmp_path).region == "us-west-2"


def test_half_a_pair_is_said_and_the_file_is_used(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = store_from_environment("", {"AWS_ACCESS_KEY_ID": "ENV"}, folder)
    assert store.keys().access_key == "FILE"
    assert "holds AWS_ACCESS_KEY_ID and no AWS_SECRET_ACCESS_KEY" in caplog.text


def test_half_a_pair_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="holds AWS_SECRET_ACCESS_KEY and no AWS_ACCESS_KEY_ID"):
        store_from_environment("", {"AWS_SECRET_ACCESS_KEY": SECRET}, tmp_path)


def test_no_keys_at_all_says_where_to_put_them(tmp_path: Path) -> None:
    store = store_from_environment("http://127.0.0.1:1", {}, tmp_path)
    assert store.region == "us-east-1"
    with pytest.raises(StoreError, match=r"There are no keys for the store(.|\n)* \.vl/aws_credentials"):
        store.check("images")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", r"has no \[default\] section"),
        ("[work]\naws_access_key_id = A\n", r"has no \[default\] section"),
        (f"[default]\naws_secret_access_key = {SECRET}\n", "has no aws_access_key_id in its"),
        ("[default]\naws_access_key_id = A\naws_secret_access_key =\n", "has no aws_secret_access_key in its"),
        (f"[default]\naws_access_key_id = A\n{SECRET}\n", "is malformed in line 3"),
        (f"aws_secret_access_key = {SECRET}\n", "is malformed in line 1"),
        (f"[default]\naws_access_key_id = A\naws_access_key_id = {SECRET}\n", "is malformed in line 3"),
    ],
)
def test_a_credentials_file_that_cannot_serve_is_named(folder: Path, content: str, complaint: str) -> None:
    (folder / ".vl" / "aws_credentials").write_text(content)
    with pytest.raises(SettingsError, match=complaint) as refused:
        store_from_environment("", {}, folder).keys()
    error: BaseException | None = refused.value
    while error:
        assert SECRET not in str(error)
        error = error.__cause__


def test_a_credentials_file_may_begin_with_a_byte_order_mark(folder: Path) -> None:
    file = folder / ".vl" / "aws_credentials"
    file.write_text(f"[default]\naws_access_key_id = MARKED\naws_secret_access_key = {SECRET}\n", "utf-8-sig")
    assert store_from_environment("", {}, folder).keys() == AccessKey("MARKED", SECRET)
    other = folder / "other"
    other.write_text(f"[default]\nrole_arn = {ROLE}\nsource_profile = work\n", "utf-8-sig")
    with pytest.raises(SettingsError, match="Save it as UTF-8 without the mark"):
        Store(credentials=ProfileKeys("default", str(other))).keys()


def test_a_folder_in_the_files_place_is_named(tmp_path: Path) -> None:
    (tmp_path / ".vl" / "aws_credentials").mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"aws_credentials cannot be read: .*Is a directory"):
        store_from_environment("", {}, tmp_path)


def test_keys_that_others_can_read_are_warned_about(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / ".vl" / "aws_credentials").chmod(0o644)
    store_from_environment("", {}, folder)
    assert "chmod 600" in caplog.text


# The kinds of keys.


def test_no_repr_shows_a_secret() -> None:
    keys = AccessKey("A", SECRET, TOKEN)
    shown = repr(Store(credentials=RoleKeys(ROLE, base=keys))) + repr(keys) + str(keys)
    assert SECRET not in shown
    assert TOKEN not in shown


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        (AccessKey("", SECRET), "the access key is empty"),
        (AccessKey("A", ""), "the secret key is empty"),
        (AccessKey("A\n", SECRET), "access key holds a blank, a line break"),
        (AccessKey("A", SECRET, "tökén"), "session token holds"),
        (ProfileKeys("nobody"), r"There is no profile 'nobody' in ~/\.aws"),
        (ProfileKeys("default", "/no/such/file"), "The credentials file /no/such/file is not there"),
    ],
)
def test_keys_that_cannot_serve_say_why(keys: AccessKey | ProfileKeys, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        Store(credentials=keys).keys()


def test_a_profile_of_a_file_looks_at_nothing_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "keys"
    file.write_text(f"[work]\naws_access_key_id = W\naws_secret_access_key = {SECRET}\naws_session_token = {TOKEN}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / ".vl" / "aws_credentials"))
    assert Store(credentials=ProfileKeys("work", str(file))).keys() == AccessKey("W", SECRET, TOKEN)
    assert Store(credentials=ProfileKeys("default")).keys() == AccessKey("FILE", SECRET)
    with pytest.raises(SettingsError, match="There is no profile 'default'"):
        Store(credentials=ProfileKeys("default", str(file))).keys()


def test_keys_are_read_anew_after_renew(folder: Path) -> None:
    store = store_from_environment("", {}, folder)
    before = store.keys()
    file = folder / ".vl" / "aws_credentials"
    file.write_text(file.read_text().replace("FILE", "ROTATED"))
    assert store.keys() == before
    store.renew()
    assert store.keys().access_key == "ROTATED"


# A role, with a real STS.


@pytest.fixture(scope="module")
def sts_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store whose own URL is an STS, and that lets its administrator assume one role."""
    folder = tmp_path_factory.mktemp("sts")
    everything = {"Effect": "Allow", "Action": ["s3:*", "sts:*"], "Resource": ["*"]}
    trusting = {"Effect": "Allow", "Principal": "*", "Action": ["sts:AssumeRole"]}
    settings = {
        "sts": {"tokenDuration": "1h", "issuer": "sts", "signingKey": "a2V5LW9mLXRoZS10ZXN0cy1hbmQtbm9ib2R5LWVsc2U="},
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "policies": [{"name": "All", "document": {"Version": "2012-10-17", "Statement": [everything]}}],
        "roles": [
            {
                "roleName": "Hauler",
                "roleArn": ROLE,
                "attachedPolicies": ["All"],
                "trustPolicy": {"Version": "2012-10-17", "Statement": [trusting]},
            }
        ],
    }
    (folder / "iam.json").write_text(json.dumps(settings))
    with EmbeddedStore(folder, options=["-s3.iam=true", "-s3.iam.config=iam.json"]) as server:
        server.make_bucket("images")
        yield server.store()


def with_role(store: Store, role: RoleKeys) -> Store:
    return Store(url=store.url, credentials=role)


def test_a_role_is_assumed_at_the_stores_own_sts(sts_store: Store) -> None:
    assert isinstance(sts_store.credentials, AccessKey)
    store = with_role(sts_store, RoleKeys(ROLE, base=sts_store.credentials))
    assert store.keys().session_token
    store.check("images")
    store.filesystem().pipe_file("images/a.txt", b"by a role")
    assert store.client().get_object(Bucket="images", Key="a.txt")["Body"].read() == b"by a role"


def test_a_role_that_may_not_be_assumed_is_named(sts_store: Store) -> None:
    assert isinstance(sts_store.credentials, AccessKey)
    refused = with_role(sts_store, RoleKeys("arn:aws:iam::role/Nobody", base=sts_store.credentials))
    with pytest.raises(StoreError, match="refused to assume the role arn:aws:iam::role/Nobody: AccessDenied"):
        refused.check("images")
    unknown = with_role(sts_store, RoleKeys(ROLE, base=AccessKey("NOBODY", SECRET)))
    with pytest.raises(StoreError, match=f"refused to assume the role {ROLE}"):
        unknown.environment()


def test_debug_logs_hold_no_secret(sts_store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert isinstance(sts_store.credentials, AccessKey)
    store = with_role(sts_store, RoleKeys(ROLE, base=sts_store.credentials, session_name="another"))
    store.client().list_objects_v2(Bucket="images")
    store.filesystem().ls("images")
    keys = store.keys()
    assert caplog.text
    for secret in (keys.secret_key, keys.session_token, sts_store.credentials.secret_key):
        assert secret not in caplog.text


# What no real STS shows within a test's time: keys that run out.


def sts_answer(number: int, minutes: float) -> Answer:
    until = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()
    return Answer(
        body=(
            "<AssumeRoleResponse><AssumeRoleResult><Credentials>"
            f"<AccessKeyId>ROLE{number}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>"
            f"<SessionToken>{TOKEN}</SessionToken><Expiration>{until}</Expiration>"
            "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
        ).encode()
    )


def test_a_role_is_assumed_again_before_its_keys_run_out() -> None:
    asked: list[bytes] = []

    def answer(body: bytes) -> Answer:
        asked.append(body)
        return sts_answer(len(asked), minutes=5 if len(asked) == 1 else 60)

    with Answering(answer) as sts:
        role = RoleKeys(ROLE, external_id="owner-1", base=AccessKey("A", SECRET), sts_url=sts.url)
        store = Store(url="http://127.0.0.1:1", credentials=role)
        assert [store.keys().access_key for _ in range(3)] == ["ROLE1", "ROLE2", "ROLE2"]
    assert b"ExternalId=owner-1" in asked[0]


def test_a_renewal_that_fails_is_a_sentence_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    answers = [
        sts_answer(1, minutes=5),
        Answer(403, b"<ErrorResponse><Error><Code>ExpiredToken</Code></Error></ErrorResponse>"),
    ]
    with Answering(lambda _: answers.pop(0)) as sts:
        role = RoleKeys(ROLE, base=AccessKey("A", SECRET), sts_url=sts.url)
        store = Store(url="http://127.0.0.1:1", credentials=role)
        assert store.keys().access_key == "ROLE1"
        with pytest.raises(StoreError, match="refused to assume the role") as refused:
            store.keys()
    assert refused.value.code == "CREDENTIALS_EXPIRED"
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("echo these are no keys", "does not print the JSON"),
        ("/no/such/program --give keys", "'/no/such/program' cannot be run"),
        ("sh -c 'echo no room >&2; exit 3'", "no room"),
    ],
    ids=["no JSON", "missing", "fails"],
)
def test_a_program_that_gives_no_keys_is_named_with_its_profile(
    command: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(f"[profile work]\ncredential_process = {command}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "work")
    with pytest.raises(StoreError) as refused:
        store_from_environment("http://127.0.0.1:1", {}, tmp_path).check("images")
    assert "'work'" in str(refused.value)
    assert complaint in str(refused.value)
    assert refused.value.code == "ACCESS_DENIED"


def test_a_url_that_boto3_would_take_from_the_environment_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": "http://minio:9000"}
    store_from_environment("http://other:9000", environ, tmp_path)
    assert "AWS_ENDPOINT_URL" not in caplog.text
    store_from_environment("", environ, tmp_path)
    assert "AWS_ENDPOINT_URL is set, and is not read" in caplog.text
