"""A store's URL, and the address and environment that each client makes of it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import cast

import pytest
from botocore.awsrequest import AWSRequest

from imagehaul.errors import SettingsError
from imagehaul.store.ca import authority_file
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Addressing, Store

KEYS = AccessKey("A", "s3cr3t-of-the-key", "t0ken-of-the-session")


@pytest.mark.parametrize(
    "url",
    [
        "minio:9000",
        "http://",
        "s3://bucket",
        "http://h:99999",
        "http://h:x",
        "http://a b",
        "http://h/?x=1",
        "http://h#f",
    ],
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="The object store's URL"):
        Store(url=url)


@pytest.mark.parametrize("url", ["https://user:s3cr3t@minio.example", "user:s3cr3t@minio.example"])
def test_keys_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SettingsError, match="holds keys") as refused:
        Store(url=url)
    assert "s3cr3t" not in str(refused.value)


def test_a_url_is_kept_without_blanks_and_a_last_slash() -> None:
    assert Store(url=" http://[::1]:9000/ ").url == "http://[::1]:9000"


def test_s5cmd_gets_all_by_its_environment_and_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PREFECT_API_KEY", "secret of another")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    environment = Store(url="https://h", region="eu-west-1", credentials=KEYS).environment()
    kept = {name for name in environment if not name.startswith("AWS_")}
    assert kept <= {"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "HTTPS_PROXY", "HTTP_PROXY"}
    assert {"PATH", "HOME", "HTTPS_PROXY"} <= kept
    assert {name: value for name, value in environment.items() if name.startswith("AWS_")} == {
        "AWS_ACCESS_KEY_ID": KEYS.access_key,
        "AWS_SECRET_ACCESS_KEY": KEYS.secret_key,
        "AWS_SESSION_TOKEN": KEYS.session_token,
        "AWS_REGION": "eu-west-1",
        "AWS_CA_BUNDLE": authority_file(""),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def test_addressing_is_one_for_boto3_and_s5cmd() -> None:
    aws = Store(region="eu-west-1", credentials=KEYS)
    assert (aws.s5cmd_options(), aws.s5cmd_obstacle()) == ([], "")
    path = replace(aws, addressing="path")
    assert path.s5cmd_options() == ["--endpoint-url", "https://s3.eu-west-1.amazonaws.com"]
    own = Store(url="http://h:9000", credentials=KEYS)
    assert (own.s5cmd_options(), own.s5cmd_obstacle()) == (["--endpoint-url", "http://h:9000"], "")
    assert "virtual-host" in replace(own, addressing="virtual").s5cmd_obstacle()

    def address(store: Store) -> str:
        def look(request: AWSRequest, **_: object) -> None:
            raise LookupError(request.url)

        client = store.client()
        client.meta.events.register("before-send.s3", look)
        with pytest.raises(LookupError) as looked:
            client.delete_object(Bucket="images", Key="a")
        return str(looked.value)

    assert address(aws) == "https://images.s3.eu-west-1.amazonaws.com/a"
    assert address(path) == "https://s3.eu-west-1.amazonaws.com/images/a"
    assert address(own) == "http://h:9000/images/a"
    assert address(replace(own, addressing="virtual")) == "http://images.h:9000/a"


@pytest.mark.parametrize(
    ("url", "addressing", "address"),
    [
        ("", "auto", ("https://images.s3.amazonaws.com", True)),
        ("", "path", ("https://s3.amazonaws.com", False)),
        ("http://minio:9000", "auto", ("http://minio:9000", False)),
        ("http://minio:9000", "virtual", ("http://images.minio:9000", True)),
        ("https://s3-accelerate.amazonaws.com", "auto", ("https://images.s3-accelerate.amazonaws.com", True)),
    ],
)
def test_obstore_addresses_a_bucket_as_boto3_does(url: str, addressing: str, address: tuple[str, bool]) -> None:
    store = Store(url=url, addressing=cast(Addressing, addressing), credentials=KEYS)
    assert store.address("images") == address
