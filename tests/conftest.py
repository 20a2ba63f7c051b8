"""The real S3 server that all tests share, and an environment without this machine's keys.

Tests may run in several processes (`pytest -n 5`): then the process that leads them runs the store, and all that
share a Prefect server run in two of them, one after the other.
"""

from __future__ import annotations

import gc
import json
import os
import secrets
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from hypothesis import HealthCheck, settings

from imagehaul.local.embedded_store import Certificate, EmbeddedStore
from imagehaul.store import clients as store_clients
from imagehaul.store.clients import ClientPatience
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from imagehaul.store.retry import Patience
from imagehaul.transfer.engines import choose_engine
from tests.support import ceph, swift
from tests.support.abilities import found_abilities
from tests.support.delivering import Target

if TYPE_CHECKING:
    from tests.support.prefect_runs import Prefect

# On a busy machine an example takes a second now and then, which says nothing of what is tested.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

ROOT = Path(__file__).parents[1]
TEXTS = {str(file.relative_to(ROOT)): file.read_text() for file in Path(__file__).parent.rglob("test_*.py")}
WITH_PREFECT = {name for name, text in TEXTS.items() if "mark.prefect" in text}
ONE_SERVER = {name for name, text in TEXTS.items() if "prefect: Prefect" in text}
FIRST_SERVER = {
    "tests/flows/test_deliver.py",
    "tests/flows/test_deploy.py",
    "tests/test_examples.py",
    "tests/test_wheel.py",
}
"""As long as all others that use a Prefect server together."""
LAST_BY_NAME = {"tests/transfer/test_engines.py", "tests/ledger/test_plan.py"}
"""The longest of those that would come last: one process would be at them when all others have ended."""
EARLY = {name for name, text in TEXTS.items() if "mark.slow" in text} | LAST_BY_NAME
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


@pytest.fixture
def untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make coverage` leaves the child of a test alone whose memory is measured: traced, it is another."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


STORES = ("seaweedfs", "ceph", "ceph-versioned", "ceph-suspended", "swift")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--object-store", choices=STORES, default=STORES[0], help="the store that all tests run against")


@dataclass(frozen=True)
class Served:
    """The store that runs for the tests: http at `url`, https with the private CA at `tls_url`.

    `access_key`, `secret_key`: its own pair. `identities`: more pairs, by what they may. `ca`: certificate and key.
    Only the embedded store has TLS and identities here; where there are none, tests that ask for them are left out.
    `versioning`: the status that each new bucket gets, "" = it never had any.
    """

    url: str
    tls_url: str
    access_key: str
    secret_key: str
    identities: dict[str, tuple[str, str]]
    ca: tuple[str, str]
    versioning: str = ""


@contextmanager
def serving(name: str, folder: Path) -> Iterator[Served]:
    """One of `STORES`. Raises `pytest.UsageError` where its programs are not installed."""
    kind, _, versioning = name.partition("-")
    if kind == "seaweedfs":
        with serving_seaweedfs(folder) as served:
            yield served
        return
    missing = {"ceph": ceph.missing_programs, "swift": swift.missing_programs}[kind]()
    if missing:
        raise pytest.UsageError(f"{kind} is not installed ({', '.join(missing)}): docs/stores.md says how.")
    with {"ceph": ceph.serving_ceph, "swift": swift.serving_swift}[kind](folder) as found:
        status = {"versioned": "Enabled", "suspended": "Suspended"}.get(versioning, "")
        yield Served(found.url, "", found.access_key, found.secret_key, {}, ("", ""), status)


@contextmanager
def serving_seaweedfs(folder: Path) -> Iterator[Served]:
    authority = trustme.CA()
    identities = {name: (secrets.token_hex(10), secrets.token_hex(20)) for name in ACTIONS}
    known = [
        {
            "name": name,
            "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
            "actions": ACTIONS[name],
        }
        for name, (access_key, secret_key) in identities.items()
    ]
    (folder / "keys.json").write_text(json.dumps({"identities": known}))
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    with EmbeddedStore(folder, certificate=Certificate(certificate, key)) as server:
        ca = authority.cert_pem.bytes().decode(), authority.private_key_pem.bytes().decode()
        yield Served(server.url, server.tls_url, server.access_key, server.secret_key, identities, ca)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Called by pytest-xdist in the process that leads the others, before each of them starts."""
    if not hasattr(node.config, "served"):
        folder = TemporaryDirectory(prefix="imagehaul-tests-")
        node.config.add_cleanup(folder.cleanup)
        store = serving(node.config.getoption("object_store"), Path(folder.name))
        node.config.served = asdict(store.__enter__())
        node.config.add_cleanup(lambda: store.__exit__(None, None, None))
    node.workerinput["served"] = node.config.served


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The tests of a file run in one process, and the files that share a Prefect server in two, each with its own.

    On another store few tests of a file run, and mostly wait for it: there each goes where there is room.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = _file(nodeid)
            if config.getoption("object_store") != STORES[0]:
                return nodeid
            if file in ONE_SERVER:
                return "first Prefect" if file in FIRST_SERVER else "second Prefect"
            return file

    return ByFile(config, log)


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Several processes begin with what takes longest, so that they are done together.

    What talks to servers of its own says nothing more on another store.
    """
    if config.getoption("object_store") != STORES[0]:
        apart = [item for item in items if "served" not in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=apart)
        items[:] = [item for item in items if item not in set(apart)]
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (_file(item.nodeid) not in WITH_PREFECT, _file(item.nodeid) not in EARLY))


def pytest_collection_finish() -> None:
    """What the tests and their libraries are made of lasts until the end: no collection has to walk through it again.

    Objects of the tests themselves are looked at as ever.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # libraries look for what nobody has freed


@pytest.fixture(scope="session")
def served(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One store for the whole run."""
    given = getattr(pytestconfig, "workerinput", None)
    if given:
        yield Served(**given["served"])
        return
    # Sockets lie in it, whose paths may be 107 bytes long.
    with (
        TemporaryDirectory(prefix="imagehaul-tests-") as folder,
        serving(pytestconfig.getoption("object_store"), Path(folder)) as started,
    ):
        yield started


@pytest.fixture(scope="session")
def authority(served: Served) -> trustme.CA:
    """The private CA that signed the embedded store's certificate."""
    if not served.tls_url:
        pytest.skip("needs TLS, which this store has not here")
    certificate, key = served.ca
    return trustme.CA.from_pem(certificate.encode(), key.encode())


@pytest.fixture(scope="session")
def identities(served: Served) -> dict[str, AccessKey]:
    """Keys that the embedded store knows, by what they may: all (the next too), read (and list), all but list."""
    if not served.identities:
        pytest.skip("needs more identities, which this store has not here")
    return {name: AccessKey(*pair) for name, pair in served.identities.items()}


@pytest.fixture(scope="session")
def store(served: Served) -> Store:
    return Store(url=served.url, credentials=AccessKey(served.access_key, served.secret_key))


@pytest.fixture(scope="session")
def abilities(store: Store, served: Served) -> set[str]:
    """What this store can do that not every one can, found out by trying: for `@pytest.mark.needs`."""
    return found_abilities(store, served.versioning)


@pytest.fixture(autouse=True)
def left_out_where_the_store_cannot(request: pytest.FixtureRequest) -> None:
    for mark in request.node.iter_markers("needs"):
        if missing := set(mark.args) - request.getfixturevalue("abilities"):
            pytest.skip(f"needs {', '.join(sorted(missing))}, which this store has not here")


@pytest.fixture(scope="session")
def tls_store(served: Served, authority: trustme.CA) -> Store:
    """The same server by https, with the private CA as PEM text."""
    keys = AccessKey(served.access_key, served.secret_key)
    return Store(url=served.tls_url, credentials=keys, ca=authority.cert_pem.bytes().decode())


@pytest.fixture(scope="session")
def buckets_ahead(store: Store, served: Served) -> Iterator[Callable[[], str]]:
    """Gives a new bucket. The next ones are made meanwhile: SeaweedFS takes 0.2 s for the first object in each."""
    client = store.client()

    def make() -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        client.create_bucket(Bucket=name)
        for status in ("Enabled", served.versioning) if served.versioning else ():
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": status})
        if served.tls_url:  # the embedded store
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


@pytest.fixture
def target(store: Store, bucket: str) -> Target:
    """Deliveries into that bucket."""
    return Target(store, bucket)


@pytest.fixture(scope="session")
def prefect(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    """One Prefect server for the whole run, or for what this process has of it."""
    from tests.support.prefect_runs import running_prefect

    own = tmp_path_factory.getbasetemp()
    shared = own.parent if hasattr(pytestconfig, "workerinput") else own
    with running_prefect(tmp_path_factory.mktemp("prefect server"), shared / "prefect.db") as server:
        yield server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds in place of minutes, so that a test sees the end of a store that never answers."""
    patience = Patience(stall_seconds=2.0, pauses=(0.1, 0.3, 0.5), retries=2, probe_seconds=4.0)
    monkeypatch.setattr("imagehaul.delivery.worker.choose_engine", partial(choose_engine, patience=patience))
    quick = ClientPatience(connect=2, read=2, attempts=3)
    monkeypatch.setattr(store_clients, "TO_WORK", quick)
    monkeypatch.setattr("imagehaul.store.endpoint.TO_WORK", quick)
    monkeypatch.setattr("imagehaul.store.endpoint.TO_WAIT", quick._replace(attempts=1, pauses=(0.1, 0.3, 0.5)))
    check = store_clients.TO_CHECK._replace(connect=2, read=2, pauses=(0.1, 0.3, 0.5))
    monkeypatch.setattr("imagehaul.store.endpoint.TO_CHECK_AND_WAIT", check)
