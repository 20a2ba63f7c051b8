"""Secrets stay secret: a whole run with debug logging on, searched for the secret key and the session token.

While it runs, at requests that the store is given: arguments and open files of every process, temporary files.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from imagehaul.errors import SettingsError
from imagehaul.local.embedded_store import EmbeddedStore
from imagehaul.store.credentials import AccessKey, RoleKeys
from imagehaul.store.endpoint import Store
from tests.support.commanding import COMMAND
from tests.support.dask_cluster import cluster_with, keys_of
from tests.support.delivering import Target, draw
from tests.support.fault_proxy import Exchange, Fault, FaultProxy, says
from tests.support.prefect_runs import Prefect
from tests.support.search import Search
from tests.support.sending import plain_client, stored
from tests.support.tap import Tap

KEPT = ("flow_run", "task_run", "artifact", "log")
ROLE = "arn:aws:iam::role/Hauler"
SCRIPT = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
from imagehaul.cli.command import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def temporary_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, AccessKey]]:
    """A store, and keys for it that its own STS gave, with a session token."""
    folder = tmp_path_factory.mktemp("sts")
    everything = {"Effect": "Allow", "Action": ["s3:*", "sts:*"], "Resource": ["*"]}
    trusting = {"Effect": "Allow", "Principal": "*", "Action": ["sts:AssumeRole"]}
    role = {"roleName": "Hauler", "roleArn": ROLE, "attachedPolicies": ["All"],
            "trustPolicy": {"Version": "2012-10-17", "Statement": [trusting]}}  # fmt: skip
    settings = {
        "sts": {"tokenDuration": "1h", "issuer": "sts", "signingKey": "a2V5LW9mLXRoZS10ZXN0cy1hbmQtbm9ib2R5LWVsc2U="},
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "policies": [{"name": "All", "document": {"Version": "2012-10-17", "Statement": [everything]}}],
        "roles": [role],
    }
    (folder / "iam.json").write_text(json.dumps(settings))
    with EmbeddedStore(folder, options=["-s3.iam=true", "-s3.iam.config=iam.json"]) as server:
        server.make_bucket("images")
        store = server.store()
        assert isinstance(store.credentials, AccessKey)
        keys = replace(store, credentials=RoleKeys(ROLE, base=store.credentials)).keys()
        assert keys.session_token
        yield store, keys


@pytest.mark.parametrize(
    ("ending", "engine"),
    [
        ("well", "s5cmd"),
        ("refused", "boto3"),
        pytest.param("well", "boto3", marks=pytest.mark.attack),
        pytest.param("refused", "s5cmd", marks=pytest.mark.attack),
    ],
)
def test_no_secret_is_left_anywhere_by_a_run_with_debug_logging(
    ending: str, engine: str, temporary_keys: tuple[Store, AccessKey], tmp_path: Path
) -> None:
    store, keys = temporary_keys
    search = Search.of(keys)
    scratch, home = tmp_path / "tmp", tmp_path / "home"
    scratch.mkdir()
    home.mkdir()
    for number in range(30):
        draw(tmp_path / "source" / f"{number}.jpg", seed=number)
    running: list[subprocess.Popen[bytes]] = []
    sent = 0

    def choose(exchange: Exchange) -> Fault | None:
        nonlocal sent
        sent += exchange.sends
        if exchange.sends and sent % 10 == 1 and running:
            search.processes(running[0].pid)
            search.folder(scratch)
            for links in Path("/dev/shm").glob("imagehaul-*"):
                search.folder(links)
        if ending == "refused" and sent > 20 and exchange.sends:
            return says(403, "SignatureDoesNotMatch")
        return None

    with FaultProxy(store, choose) as proxy:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, "deliver", tmp_path / "source", "--dataset", f"{engine}-{ending}", "--json",
             "--use-s5cmd-when-available", str(engine == "s5cmd")],
            env={
                "PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(scratch), "BOTO_DEBUG": "1",
                "OBJECT_STORE_URL": proxy.store.url, "REMOTE_SAVE": "s3://images/pre/",
                "AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key,
                "AWS_SESSION_TOKEN": keys.session_token,
            },
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        running.append(process)
        out, log = process.communicate(timeout=120)
        proxy.store.renew()
    assert process.returncode == (0 if ending == "well" else 1), log.decode()[-3000:]
    assert b"DEBUG:urllib3" in log
    search.look("standard output", out)
    search.look("log", log)
    search.folder(tmp_path)
    for key, data in stored(store, "images").items():
        search.look(f"object {key}", data)
    for row in Target(store, "images", dataset=f"{engine}-{ending}").ledger(json.loads(out.splitlines()[-1])["run"]):
        search.look("ledger", json.dumps(row).encode())
    assert search.found == []
    assert search.looked > 60
    assert (search.s5cmds > 0) == (engine == "s5cmd"), "It was looked at while it ran."
    assert list(scratch.iterdir()) == []


@pytest.mark.attack
def test_no_secret_is_left_anywhere_by_a_verification_a_repair_or_a_pruning(
    temporary_keys: tuple[Store, AccessKey], tmp_path: Path
) -> None:
    store, keys = temporary_keys
    search = Search.of(keys)
    target = Target(replace(store, credentials=keys), "images", dataset="others")
    for number in range(6):
        draw(tmp_path / "source" / f"{number}.jpg", seed=number)
    for size in (48, 64):
        target.deliver(tmp_path / "source", settings={"thumbnail_size": size})
    plain_client(store).delete_object(Bucket="images", Key=f"{target.root}images/3.jpg")
    home = tmp_path / "home"
    home.mkdir()
    commands = {
        ("verify", "--content", "--findings", home / "found.parquet"): 1,
        ("verify", "--content", "--repair", "--source", tmp_path / "source"): 0,
        ("verify", "--json"): 0,
        ("prune", "--keep", 1): 0,
    }

    running: list[subprocess.Popen[bytes]] = []

    def choose(_: Exchange) -> None:
        for process in running:
            search.processes(process.pid)

    for (name, *options), status in commands.items():
        running.clear()
        with FaultProxy(store, choose) as proxy:
            process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, name, "--dataset", "others", *map(str, options)],
                env={
                    "PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "BOTO_DEBUG": "1",
                    "OBJECT_STORE_URL": proxy.store.url, "REMOTE_SAVE": f"s3://images/{target.prefix}",
                    "AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key,
                    "AWS_SESSION_TOKEN": keys.session_token,
                },
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            running.append(process)
            out, log = process.communicate(timeout=120)
        assert process.returncode == status, log.decode()[-3000:]
        assert b"DEBUG:urllib3" in log
        search.look(f"output of {name}", out)
        search.look(f"log of {name}", log)
    search.folder(home)
    for key, data in stored(store, "images").items():
        search.look(f"object {key}", data)
    assert search.found == []
    assert search.looked > 40


@pytest.mark.prefect
@pytest.mark.parametrize("runner", ["processes", pytest.param("dask", marks=pytest.mark.attack)])
def test_no_secret_is_left_in_prefect(runner: str, prefect: Prefect, store: Store, bucket: str, tmp_path: Path) -> None:
    """In its database outside of encrypted blocks, in its logs and folders, with all its logging on, while it runs and
    after; and in what lies between the leader, Dask's scheduler and its workers."""
    keys = store.keys()
    search = Search.of(keys)
    for number in range(40 if runner == "dask" else 5):
        draw(tmp_path / "source" / f"{number}.jpg", seed=number)
    (tmp_path / "source" / "bad.jpg").write_text("no picture")
    running: list[subprocess.Popen[str]] = []
    sent = 0

    def choose(exchange: Exchange) -> None:
        nonlocal sent
        sent += exchange.sends
        if exchange.sends and sent % 10 == 1:
            for process in running:
                search.processes(process.pid)
            if cluster and cluster.scheduler:
                search.memory(cluster.scheduler.pid)

    with ExitStack() as stack:
        cluster = stack.enter_context(cluster_with(tmp_path / "dask", keys_of(store))) if runner == "dask" else None
        tap = stack.enter_context(Tap(cluster.address.removeprefix("tcp://"))) if cluster else None
        options = ["--task-runner", "dask", "--task-runner-address", f"tcp://{tap.address}"] if tap else []
        proxy = stack.enter_context(FaultProxy(store, choose))
        process = subprocess.Popen(
            [COMMAND, "deliver", tmp_path / "source", "--dataset", f"by-{runner}", "--allow-loss", "--prefect",
             "--batch-size", "5", *options],
            cwd=tmp_path,
            env={
                **prefect.environment,
                "OBJECT_STORE_URL": proxy.store.url, "REMOTE_SAVE": f"s3://{bucket}/pre/",
                "AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key,
                "PREFECT_LOGGING_LEVEL": "DEBUG", "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG",
                "PREFECT_LOGGING_EXTRA_LOGGERS": "botocore,boto3,s3fs,urllib3,aiobotocore,distributed",
                "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "DEBUG",
            },
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        running.append(process)
        if cluster:
            running += [cluster.scheduler, *cluster.workers]  # type: ignore[list-item]
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output[-3000:]
        for heard in tap.heard if tap else ():
            search.look("between leader and scheduler", bytes(heard))
        proxy.store.renew()
    search.look("output", output.encode())
    search.folder(tmp_path)
    with sqlite3.connect(prefect.database) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in database.execute(f'SELECT * FROM "{table}"'):
                search.look(f"table {table}", repr(row).encode())
        counts = {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in KEPT}
    assert all(counts.values()), counts
    search.folder(prefect.folder)
    assert search.found == []


def test_a_private_key_in_the_ca_goes_no_further(
    store: Store, tls_store: Store, authority: trustme.CA, bucket: str, tmp_path: Path
) -> None:
    """Some keep both in one PEM file: it is used where it lies, and the store's objects have none of it."""
    private = authority.private_key_pem.bytes().decode()
    bundle = tmp_path / "both.pem"
    bundle.write_text(tls_store.ca + private)
    careless = replace(tls_store, ca=str(bundle))
    draw(tmp_path / "source" / "a.jpg")
    assert Target(careless, bucket).deliver(tmp_path / "source").exit_status == 0
    assert careless.environment()["AWS_CA_BUNDLE"] == str(bundle)
    middle = private.splitlines()[1]
    assert all(middle.encode() not in data for data in stored(store, bucket).values())
    with pytest.raises(SettingsError) as refused:
        Target(replace(tls_store, ca=tls_store.ca + private), bucket).deliver(tmp_path / "source")
    assert middle not in str(refused.value)
