from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import trustme
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from pydantic import SecretStr, ValidationError

from imagehaul.blocks import ObjectStore, ObjectStoreCredentials
from imagehaul.blocks.object_store import load_store
from imagehaul.errors import SettingsError
from imagehaul.store.credentials import AccessKey, Keys, MachineKeys, ProfileKeys, RoleKeys
from imagehaul.store.endpoint import Store
from tests.support.prefect_runs import Prefect

SECRET, TOKEN = "s3cr3t-of-the-key", "t0ken-of-the-session"
ROLE = "arn:aws:iam::123456789012:role/haul"


# The forms, which need no server.


@pytest.mark.parametrize(
    ("filled_in", "keys"),
    [
        ({}, MachineKeys()),
        ({"access_key": "A", "secret_key": SECRET}, AccessKey("A", SECRET)),
        ({"access_key": " A\n", "secret_key": f"{SECRET}\n"}, AccessKey("A", SECRET)),
        ({"access_key": "A", "secret_key": SECRET, "session_token": TOKEN}, AccessKey("A", SECRET, TOKEN)),
        ({"profile": "work"}, ProfileKeys("work")),
        ({"credentials_file": "/keys"}, ProfileKeys("default", "/keys")),
        ({"role_arn": ROLE}, RoleKeys(ROLE)),
        (
            {"access_key": "A", "secret_key": SECRET, "role_arn": ROLE, "external_id": "me", "sts_url": "http://sts"},
            RoleKeys(ROLE, "me", base=AccessKey("A", SECRET), sts_url="http://sts"),
        ),
    ],
)
def test_the_fields_that_are_filled_in_say_which_keys(filled_in: dict[str, str], keys: Keys) -> None:
    assert ObjectStoreCredentials(**filled_in).to_keys() == keys


@pytest.mark.parametrize(
    ("filled_in", "complaint"),
    [
        ({"access_key": "A"}, "its field 'Secret key' is empty"),
        ({"secret_key": SECRET}, "its field 'Access key' is empty"),
        ({"session_token": TOKEN}, "its field 'Access key' is empty"),
        ({"access_key": "A", "secret_key": SECRET, "profile": "work"}, "holds both an access key and a profile"),
        ({"external_id": "me"}, "an external ID or an STS URL, and no role"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(filled_in: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        ObjectStoreCredentials(**filled_in).to_keys()


def test_an_empty_form_is_aws_with_the_machines_own_keys() -> None:
    assert ObjectStore().to_store() == Store()


def test_the_form_is_the_store() -> None:
    pem = trustme.CA().cert_pem.bytes().decode()
    form = ObjectStore(
        object_store_url="https://minio.example:9000/",
        region="eu-west-1",
        addressing_style="virtual",
        ca_bundle=pem,
        credentials=ObjectStoreCredentials(access_key="A", secret_key=SECRET),
    )
    assert form.to_store() == Store(
        "https://minio.example:9000", "eu-west-1", "virtual", AccessKey("A", SECRET), pem.strip()
    )


def test_a_private_key_in_the_cas_place_never_gets_into_the_form() -> None:
    key = trustme.CA().private_key_pem.bytes().decode()
    with pytest.raises(ValidationError, match="holds a private key") as refused:
        ObjectStore(ca_bundle=key)
    form = ObjectStore()
    with pytest.raises(ValidationError, match="holds a private key"):
        form.ca_bundle = key
    assert key.splitlines()[1] not in str(refused.value)


@pytest.mark.parametrize("block", [ObjectStore, ObjectStoreCredentials])
def test_every_field_explains_itself_and_may_be_left_empty(block: type[Block]) -> None:
    schema = block.model_json_schema()
    assert not schema.get("required")
    for name, field in schema["properties"].items():
        assert field.get("title"), name
        assert field.get("description"), name
    assert block.get_description()
    assert "```python" in (block.get_code_example() or "")


def test_the_slugs_never_change() -> None:
    # Documents that were saved are found by them.
    assert ObjectStore.get_block_type_slug() == "imagehaul-object-store"
    assert ObjectStoreCredentials.get_block_type_slug() == "imagehaul-credentials"


# The forms at a Prefect API.


@pytest.fixture
def api(prefect: Prefect) -> Iterator[None]:
    with prefect.used_here():
        yield


@pytest.fixture
def saved(api: None, tls_store: Store) -> str:
    """The name of a saved block for the embedded store by https, with the keys in a block of their own."""
    assert isinstance(tls_store.credentials, AccessKey)
    keys = ObjectStoreCredentials(
        access_key=tls_store.credentials.access_key, secret_key=SecretStr(tls_store.credentials.secret_key)
    )
    keys.save("form-keys", overwrite=True)
    ObjectStore(object_store_url=tls_store.url, ca_bundle=tls_store.ca, credentials=keys).save("form", overwrite=True)
    return "form"


@pytest.mark.prefect
def test_a_saved_block_reaches_the_store_by_its_ca(saved: str, bucket: str) -> None:
    load_store(saved).check(bucket)
    assert load_store(f"imagehaul-object-store/{saved}") == load_store(saved)


@pytest.mark.prefect
def test_new_keys_in_the_keys_block_serve_every_store_that_names_it(saved: str) -> None:
    ObjectStoreCredentials(access_key="NEW", secret_key=SECRET).save("form-keys", overwrite=True)
    assert load_store(saved).keys() == AccessKey("NEW", SECRET)


@pytest.mark.prefect
def test_a_loaded_block_shows_no_secret(saved: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ObjectStoreCredentials(access_key="A", secret_key=SECRET, session_token=TOKEN).save("masked")
    loaded = ObjectStoreCredentials.load("masked")
    assert isinstance(loaded, ObjectStoreCredentials)
    assert loaded.to_keys() == AccessKey("A", SECRET, TOKEN)
    with get_client(sync_client=True) as client:
        document = client.read_block_document_by_name("masked", "imagehaul-credentials", include_secrets=False)
    for shown in (repr(loaded), str(loaded), repr(document), caplog.text):
        assert SECRET not in shown
        assert TOKEN not in shown


@pytest.mark.prefect
def test_a_document_from_before_a_field_was_added_still_loads(saved: str) -> None:
    with get_client(sync_client=True) as client:
        document = client.read_block_document_by_name(saved, "imagehaul-object-store")
        client._client.patch(
            f"/block_documents/{document.id}",
            json={"data": {"object_store_url": "http://old:9000"}, "merge_existing_data": False},
        ).raise_for_status()
    assert load_store(saved) == Store(url="http://old:9000")


@pytest.mark.prefect
def test_a_private_key_that_the_ui_let_in_is_refused_at_use(saved: str) -> None:
    key = trustme.CA().private_key_pem.bytes().decode()
    with get_client(sync_client=True) as client:
        document = client.read_block_document_by_name(saved, "imagehaul-object-store")
        client._client.patch(
            f"/block_documents/{document.id}", json={"data": {"ca_bundle": key}, "merge_existing_data": False}
        ).raise_for_status()
    with pytest.raises(SettingsError, match="The block 'form' cannot be used: ca_bundle: The CA holds a private"):
        load_store(saved)


@pytest.mark.prefect
def test_a_block_that_is_not_there_is_named(api: None) -> None:
    with pytest.raises(SettingsError, match="There is no block 'nobody' of the type 'imagehaul object store'"):
        load_store("nobody")


def test_an_api_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}),
        pytest.raises(SettingsError, match="the Prefect API does not answer"),
    ):
        load_store("embedded")
