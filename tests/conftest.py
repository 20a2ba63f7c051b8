"""The real S3 server that all tests share, and an environment without this machine's keys."""

from __future__ import annotations

import json
import os
import secrets
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import trustme

from flows import store_clients
from flows.credentials import AccessKey
from flows.embedded_store import Certificate, EmbeddedStore
from flows.store import Store
from flows.store_clients import Patience as ClientPatience
from flows.store_clients import boto3_client
from flows.transfer import choose_lane
from flows.transfer_rounds import Patience
from prefect_runs import Prefect, running_prefect

ACTIONS = {"all": ["Admin"], "next": ["Admin"], "read": ["Read", "List"], "no list": ["Read", "Write"]}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No key, URL or CA of this machine reaches a test, neither by a variable nor from ~/.aws."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "S3_", "FSSPEC_S3")):
            monkeypatch.delenv(name)
    nowhere = str(tmp_path_factory.getbasetemp() / "no such folder")
    monkeypatch.setenv("AWS_CONFIG_FILE", nowhere + "/config")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", nowhere + "/credentials")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The private CA that signed the embedded store's certificate."""
    return trustme.CA()


@pytest.fixture(scope="session")
def identities() -> dict[str, AccessKey]:
    """Keys that the embedded store knows, by what they may: all (the next too), read (and list), all but list."""
    return {name: AccessKey(secrets.token_hex(10), secrets.token_hex(20)) for name in ACTIONS}


@pytest.fixture(scope="session")
def embedded_store(
    tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA, identities: dict[str, AccessKey]
) -> Iterator[EmbeddedStore]:
    """One SeaweedFS for the whole run: http at `url`, https with the private CA at `tls_url`."""
    folder = tmp_path_factory.mktemp("store")
    known = [
        {
            "name": name,
            "credentials": [{"accessKey": keys.access_key, "secretKey": keys.secret_key}],
            "actions": ACTIONS[name],
        }
        for name, keys in identities.items()
    ]
    (folder / "keys.json").write_text(json.dumps({"identities": known}))
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    with EmbeddedStore(folder, certificate=Certificate(certificate, key)) as server:
        yield server


@pytest.fixture(scope="session")
def store(embedded_store: EmbeddedStore) -> Store:
    return embedded_store.store()


@pytest.fixture(scope="session")
def tls_store(embedded_store: EmbeddedStore, authority: trustme.CA) -> Store:
    """The same server by https, with the private CA as PEM text."""
    keys = AccessKey(embedded_store.access_key, embedded_store.secret_key)
    return Store(url=embedded_store.tls_url, credentials=keys, ca=authority.cert_pem.bytes().decode())


@pytest.fixture(scope="session")
def buckets_ahead(store: Store) -> Iterator[Callable[[], str]]:
    """Gives a new bucket. The next ones are made meanwhile: SeaweedFS takes 0.2 s for the first object in each."""
    client = store.client()

    def make() -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        client.create_bucket(Bucket=name)
        client.put_object(Bucket=name, Key="first", Body=b"")
        client.delete_object(Bucket=name, Key="first")
        return name

    with ThreadPoolExecutor(1, thread_name_prefix="buckets") as maker:
        waiting = deque(maker.submit(make) for _ in range(3))

        def take() -> str:
            waiting.append(maker.submit(make))
            return waiting.popleft().result()

        yield take


@pytest.fixture
def bucket(buckets_ahead: Callable[[], str]) -> str:
    """A new bucket, for this test alone."""
    return buckets_ahead()


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    """One Prefect server for the whole run."""
    with running_prefect(tmp_path_factory.mktemp("prefect server")) as server:
        yield server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds in place of minutes, so that a test sees the end of a store that never answers."""
    patience = Patience(stall_seconds=2.0, pauses=(0.1, 0.3, 0.5), retries=2, probe_seconds=4.0)
    monkeypatch.setattr("flows.delivery.choose_lane", partial(choose_lane, patience=patience))
    quick = ClientPatience(connect=2, read=2, attempts=3)
    monkeypatch.setattr("flows.store.boto3_client", lambda store, keys, patience=quick: boto3_client(
        store, keys, patience
    ))  # fmt: skip
    monkeypatch.setattr(store_clients, "TO_WORK", quick)
