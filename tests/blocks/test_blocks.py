from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Iterator

import pytest
import trustme
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.utilities.dispatch import register_type
from pydantic import Field, SecretStr, ValidationError

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


def test_credentials_are_text_in_the_form_since_the_v2_ui_loses_a_block_within_a_block() -> None:
    schema = ObjectStore.model_json_schema()
    assert schema["properties"]["credentials"]["type"] == "string"
    assert schema["block_schema_references"] == {}


def test_keys_that_were_not_saved_are_never_saved_within_the_store() -> None:
    store = ObjectStore(credentials=ObjectStoreCredentials(access_key="A", secret_key=SECRET))
    with pytest.raises(SettingsError, match="Save the credentials first"):
        store.save("inline")


@pytest.mark.parametrize("field", ["secret_key", "session_token"])
def test_asterisks_alone_are_no_secret(field: str) -> None:
    form = ObjectStoreCredentials(**{"access_key": "A", "secret_key": SECRET, field: "********"})
    with pytest.raises(SettingsError, match=r"asterisks in place of its secret(.|\n)*Type the secret again"):
        form.to_keys()


def test_a_block_for_a_store_that_this_process_alone_knows_shows_no_key() -> None:
    store = Store("http://here:9000", credentials=AccessKey("A", SECRET), ca="the CA")
    block = ObjectStore.of(store)
    assert block.to_store() is store
    assert not [word for word in ("'A'", SECRET, "the CA") if word in repr(block) + str(block.model_dump())]


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


def save_unchanged_as_v2_does(name: str) -> None:
    """All data as the API shows it, masks and all (prefect/server/ui-v2, block-document-edit-page)."""
    with get_client(sync_client=True) as client:
        document = client.read_block_document_by_name(name, "imagehaul-object-store", include_secrets=False)
        client._client.patch(
            f"/block_documents/{document.id}", json={"data": document.data, "merge_existing_data": False}
        ).raise_for_status()


@pytest.fixture
def saved_before(api: None) -> str:
    with warnings.catch_warnings(action="ignore", category=UserWarning):

        class OldObjectStore(Block):
            """As the block was before its credentials became a name."""

            _block_type_name = "imagehaul object store"
            _block_type_slug = "imagehaul-object-store"

            object_store_url: str = ""
            credentials: ObjectStoreCredentials = Field(default_factory=ObjectStoreCredentials)

        register_type(ObjectStore)
    keys = ObjectStoreCredentials(access_key="A", secret_key=SECRET)
    keys.save("old-keys", overwrite=True)
    OldObjectStore(object_store_url="http://old:9000", credentials=keys).save("old", overwrite=True)
    return "old"


@pytest.mark.prefect
def test_a_block_that_an_earlier_version_saved_loads_and_is_stored_by_name_from_then_on(saved_before: str) -> None:
    assert load_store(saved_before) == Store("http://old:9000", credentials=AccessKey("A", SECRET))
    block = ObjectStore.load(saved_before)
    assert isinstance(block, ObjectStore)
    block.save(saved_before, overwrite=True)
    save_unchanged_as_v2_does(saved_before)
    assert load_store(saved_before) == Store("http://old:9000", credentials=AccessKey("A", SECRET))


@pytest.mark.prefect
def test_saving_unchanged_in_the_v2_ui_keeps_the_keys(saved: str, tls_store: Store) -> None:
    save_unchanged_as_v2_does(saved)
    assert (load_store(saved).url, load_store(saved).keys()) == (tls_store.url, tls_store.keys())


@pytest.mark.prefect
def test_a_block_of_an_earlier_version_whose_keys_the_v2_ui_lost_is_refused(saved_before: str) -> None:
    save_unchanged_as_v2_does(saved_before)
    with pytest.raises(SettingsError, match="Prefect's UI saved its own mask"):
        load_store(saved_before)


@pytest.mark.prefect
def test_credentials_that_are_not_there_are_named(api: None) -> None:
    ObjectStore(credentials="nobodys-keys").save("without-keys", overwrite=True)
    with pytest.raises(SettingsError, match="no block 'nobodys-keys' of the type 'imagehaul credentials'"):
        load_store("without-keys")


@pytest.mark.prefect
def test_client_and_file_system_come_from_the_block_in_flows_of_both_kinds(saved: str, bucket: str) -> None:
    block = ObjectStore.load(saved)
    assert isinstance(block, ObjectStore)
    block.get_client().put_object(Bucket=bucket, Key="a.txt", Body=b"here")
    assert block.get_s3fs().cat(f"{bucket}/a.txt") == b"here"

    async def asynchronously() -> tuple[bytes, bytes]:
        found = await ObjectStore.aload(saved)
        client, files = await found.get_client(), await found.aget_s3fs()
        return client.get_object(Bucket=bucket, Key="a.txt")["Body"].read(), files.cat(f"{bucket}/a.txt")

    assert asyncio.run(asynchronously()) == (b"here", b"here")


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
