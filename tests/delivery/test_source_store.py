"""Source and target in two stores, each with its own URL, keys and CA."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from imagehaul.delivery.batch_threads import in_threads
from imagehaul.delivery.repair import verify_and_repair
from imagehaul.delivery.sources import forget_source
from imagehaul.errors import StoreError
from imagehaul.layout import Layout
from imagehaul.local.embedded_store import Certificate, EmbeddedStore
from imagehaul.records import SourceOptions
from imagehaul.settings import Settings
from imagehaul.sources.registry import describe_source, open_source
from imagehaul.sources.source import SourceTools
from imagehaul.sources.source_store import source_store
from imagehaul.store.credentials import AccessKey, ProfileKeys
from imagehaul.store.endpoint import Store
from tests.support.delivering import Lines, Target, draw

OTHER = SourceOptions(source_object_store_url="https://partner.example.com", source_aws_profile="partner")


def test_what_is_not_said_is_as_the_targets() -> None:
    target = Store(url="http://here:9000", region="eu-west-1", credentials=AccessKey("a", "b"), ca="/ca.pem")
    assert source_store(SourceOptions(), target) == target
    found = source_store(OTHER, target)
    assert found.url == "https://partner.example.com"
    assert found.credentials == ProfileKeys("partner")
    assert (found.region, found.ca) == ("eu-west-1", "/ca.pem")
    assert source_store(SourceOptions(source_aws_region="us-west-2"), target).region == "us-west-2"


def test_the_store_copies_by_itself_only_with_one_key() -> None:
    target = Store(url="http://here:9000", credentials=AccessKey("a", "b"))
    tools = SourceTools(target, layout=None)

    def can_copy(options: SourceOptions) -> bool:
        source = open_source(describe_source("s3://mybucket/in", options), tools)
        return bool(source.can_copy)

    assert can_copy(SourceOptions())
    assert not can_copy(OTHER)
    assert not can_copy(SourceOptions(source_aws_profile="reader"))


@pytest.fixture(scope="module")
def partner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedStore, Path]]:
    """Another store: other keys, and TLS with another private CA, whose file comes with it."""
    folder = tmp_path_factory.mktemp("partner")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    with EmbeddedStore(folder / "data", certificate=Certificate(certificate, key)) as server:
        server.make_bucket("partner")
        yield server, folder / "ca.pem"


def test_bytes_go_through_us_once_and_no_key_is_left_anywhere(
    tmp_path: Path,
    tls_store: Store,
    bucket: str,
    partner: tuple[EmbeddedStore, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, ca = partner
    client = server.store().client()
    pictures = {f"in/{name}.jpg": draw(tmp_path / f"{name}.jpg", seed=seed) for seed, name in enumerate("ab")}
    for key, content in pictures.items():
        client.put_object(Bucket="partner", Key=key, Body=content)
    credentials = tmp_path / "credentials"
    credentials.write_text(
        f"[partner]\naws_access_key_id={server.access_key}\naws_secret_access_key={server.secret_key}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    target = Target(tls_store, bucket)
    settings = {
        "source_object_store_url": server.tls_url,
        "source_aws_profile": "partner",
        "source_ca_bundle": str(ca),
    }

    summary = target.deliver("s3://partner/in", settings=settings)
    assert (summary.counts.delivered, summary.exit_status) == (2, 0)
    assert {key: target.read(f"images/{key}") for key in ("a.jpg", "b.jpg")} == {
        "a.jpg": pictures["in/a.jpg"],
        "b.jpg": pictures["in/b.jpg"],
    }
    assert target.deliver("s3://partner/in", settings=settings).counts.objects == 0
    tls_store.client().delete_object(Bucket=bucket, Key=f"{target.root}images/a.jpg")
    chosen = Settings(remote_save=f"s3://{bucket}/{target.prefix}", workers=1, **settings)
    mended, repair = verify_and_repair(
        target.dataset, chosen, tls_store, Lines(), in_threads, repair="s3://partner/in", source_name="main"
    )
    assert (mended.exit_status, mended.missing) == (0, 0)
    assert repair is not None
    assert (repair.counts.delivered, repair.counts.objects) == (1, 1)
    everything = b"".join(target.read(key) for key in target.listed())
    assert server.secret_key.encode() not in everything
    assert server.access_key.encode() not in everything


def test_an_export_reads_each_original_in_place_from_the_store_of_its_source(
    tmp_path: Path,
    store: Store,
    bucket: str,
    partner: tuple[EmbeddedStore, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that delivers another source, too: the report of the partner's own run says where its originals lie."""
    server, ca = partner
    theirs, ours = draw(tmp_path / "theirs.jpg", seed=1), draw(tmp_path / "ours" / "b.jpg", seed=2)
    server.store().client().put_object(Bucket="partner", Key="placed/a.jpg", Body=theirs)
    (tmp_path / "credentials").write_text(
        f"[placed]\naws_access_key_id={server.access_key}\naws_secret_access_key={server.secret_key}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    target, asked = Target(store, bucket), {"exports": "webdataset"}
    placed = {
        **asked,
        "originals": "in_place",
        "source_object_store_url": server.tls_url,
        "source_aws_profile": "placed",
        "source_ca_bundle": str(ca),
    }
    assert target.deliver("s3://partner/placed", settings=placed, source_name="partner").published
    assert target.deliver(tmp_path / "ours", settings=asked).published
    shard = target.read(f"exports/{target.current()['run']}/webdataset/shard-000000.tar")
    assert theirs in shard
    assert ours in shard

    layout, chosen = Layout(bucket, target.prefix, target.dataset), Settings(remote_save=f"s3://{bucket}/pre/", **asked)
    forget_source("main", chosen, store, layout, _folder(tmp_path / "forget"), Lines())
    assert theirs in target.read(f"exports/{target.current()['run']}/webdataset/shard-000000.tar")

    server.store().client().delete_object(Bucket="partner", Key="placed/a.jpg")
    refused = target.deliver(tmp_path / "ours", settings=asked).refused
    assert f"{server.tls_url} refused to read s3://partner/placed/a.jpg" in refused
    assert "an original in place of the source 'partner'" in refused
    assert "leave webdataset out of EXPORTS" in refused
    assert f"Run {target.current()['run']} is still current" in refused


def _folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_wrong_keys_of_the_source_are_told_as_its_own(
    tmp_path: Path,
    store: Store,
    bucket: str,
    partner: tuple[EmbeddedStore, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, ca = partner
    (tmp_path / "credentials").write_text(
        f"[stranger]\naws_access_key_id={secrets.token_hex(8)}\naws_secret_access_key=no\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.fspath(tmp_path / "credentials"))
    settings = {
        "source_object_store_url": server.tls_url,
        "source_aws_profile": "stranger",
        "source_ca_bundle": str(ca),
    }
    with pytest.raises(StoreError, match=f"{server.tls_url} refused to list s3://partner/in/"):
        Target(store, bucket).deliver("s3://partner/in", settings=settings)
