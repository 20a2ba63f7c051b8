"""The form for an object store. What a store does is in `imagehaul.store.endpoint`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from prefect._internal.compatibility.async_dispatch import async_dispatch
from prefect.blocks.core import Block
from pydantic import (
    ConfigDict,
    Field,
    HttpUrl,
    PlainValidator,
    PrivateAttr,
    ValidationError,
    WithJsonSchema,
    field_validator,
)

from imagehaul.blocks.credentials import ObjectStoreCredentials, load_credentials
from imagehaul.errors import SettingsError
from imagehaul.store.ca import checked_pem
from imagehaul.store.credentials import Keys, MachineKeys
from imagehaul.store.endpoint import Addressing, Store
from imagehaul.store.reference import StoreReference

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from s3fs import S3FileSystem

    Credentials = str | ObjectStoreCredentials
else:

    def _credentials(value: object) -> object:
        """A name; a block, for use in Python; or what a document holds that was saved by an earlier version."""
        if isinstance(value, Mapping):
            return ObjectStoreCredentials.model_validate(value)
        if not isinstance(value, str | ObjectStoreCredentials):
            raise ValueError("takes the name of a credentials block")
        return value

    # In the form it is text, and no field for a block: when the V2 UI saves a block with a block in it, the inner
    # one's reference is lost, and its secret with it. A name goes there and back.
    Credentials = Annotated[Any, PlainValidator(_credentials), WithJsonSchema({"type": "string"})]


class ObjectStore(Block):
    """An S3-compatible object store: AWS, MinIO, Ceph, SeaweedFS and others.

    All that decides which store is meant comes from here: no variable of the worker's environment redirects it.
    The bucket is not part of it; the flow's settings name it (REMOTE_SAVE).

    Example:
        A MinIO with a certificate of a private CA:
        ```python
        from pathlib import Path
        from imagehaul.blocks import ObjectStore, ObjectStoreCredentials

        ObjectStoreCredentials(access_key="...", secret_key="...").save("minio-keys")
        ObjectStore(
            object_store_url="https://minio.example.org:9000",
            ca_bundle=Path("ca.pem").read_text(),
            credentials="minio-keys",
        ).save("minio")
        ```
        Use it: deliver a data set, or work with the store itself.
        ```python
        from imagehaul.blocks import ObjectStore
        from imagehaul.flows.deliver import deliver

        store = ObjectStore.load("minio")
        deliver("raccoon", "/srv/raccoon", store, settings={"remote_save": "s3://images/data-sets/"})
        store.get_client().list_buckets()
        ```
    """

    _block_type_name = "imagehaul object store"
    _block_type_slug = "imagehaul-object-store"
    # Prefect's own picture, by a URL, since it takes no picture within one.
    _logo_url = HttpUrl(
        "https://raw.githubusercontent.com/PrefectHQ/prefect/420d0d6a78bb6df1fc18bcf188fdad43c1d22ea9"
        "/assets/block-logos/filesystem.png"
    )

    # An error must not repeat what was typed into the form.
    model_config: ClassVar[ConfigDict] = ConfigDict(hide_input_in_errors=True, validate_assignment=True)

    object_store_url: str = Field(
        default="",
        title="Object store URL",
        description="http://host:port or https://host, of the S3 API and not of a console. Empty: AWS.",
    )
    region: str = Field(
        default="us-east-1",
        title="Region",
        description="The bucket's region. Stores of one's own mostly take us-east-1.",
    )
    addressing_style: Addressing = Field(
        default="auto",
        title="Addressing style",
        description=(
            "path: URL/bucket/key. virtual: bucket.host/key, which some stores want; s5cmd cannot do it at a URL "
            "of the store's own, and boto3 sends instead. auto: path, and virtual on AWS."
        ),
    )
    ca_bundle: str = Field(
        default="",
        title="CA",
        description=(
            "The CA that signed the store's certificate, where it is a private one: its PEM text "
            "(-----BEGIN CERTIFICATE-----), or the path of a PEM file on the worker. Never a private key. "
            "Empty: the CAs that the worker's system trusts."
        ),
    )
    credentials: Credentials = Field(
        default="",
        title="Credentials",
        description=(
            "Name of the block 'imagehaul credentials' that holds the keys, such as minio-keys. "
            "Empty: the worker's own keys, as boto3 finds them."
        ),
    )

    _here: Store | None = PrivateAttr(default=None)

    @field_validator("ca_bundle")
    @classmethod
    def _no_private_key(cls, value: str) -> str:
        if "-----BEGIN" in value:
            try:
                checked_pem(value, "The CA")
            except SettingsError as error:
                raise ValueError(str(error)) from None
        return value

    @classmethod
    def of(cls, store: Store) -> Self:
        """A block for a store that this process alone knows. It is not to be saved, and shows no key."""
        block = cls(object_store_url=store.url, region=store.region, addressing_style=store.addressing)
        block._here = store
        return block

    def to_store(self) -> Store:
        """Raises SettingsError for a URL or keys that cannot be used."""
        return self._here or Store(
            url=self.object_store_url,
            region=self.region.strip() or "us-east-1",
            addressing=self.addressing_style,
            credentials=self._keys(),
            ca=self.ca_bundle.strip(),
            reference=StoreReference("block", self._block_document_name) if self._block_document_name else None,
        )

    async def aget_client(self) -> S3Client:
        """boto3's client, from an asynchronous flow."""
        return await asyncio.to_thread(lambda: self.to_store().client())

    @async_dispatch(aget_client)
    def get_client(self) -> S3Client:
        """boto3's client for this store: its URL, region, keys and CA, whatever the worker's environment says."""
        return self.to_store().client()

    async def aget_s3fs(self) -> S3FileSystem:
        """s3fs's file system, from an asynchronous flow. It is the synchronous one, made in a thread."""
        return await asyncio.to_thread(lambda: self.to_store().filesystem())

    @async_dispatch(aget_s3fs)
    def get_s3fs(self) -> S3FileSystem:
        """s3fs's file system for this store. It remembers no listing."""
        return self.to_store().filesystem()

    async def asave(self, *args: Any, **options: Any) -> Any:
        self._name_credentials()
        return await super().asave(*args, **options)

    @async_dispatch(asave)
    def save(self, *args: Any, **options: Any) -> Any:
        """As any block is saved. Credentials that were given as a block must have been saved before."""
        self._name_credentials()
        return super().save(*args, **options, _sync=True)  # type: ignore[call-arg]

    def _name_credentials(self) -> None:
        """What is stored is the name alone: keys of a block within this one would be in clear."""
        if isinstance(self.credentials, ObjectStoreCredentials):
            name = self.credentials._block_document_name
            if not (name or isinstance(self.credentials.to_keys(), MachineKeys)):
                raise SettingsError("Save the credentials first, as a block of their own: credentials.save(NAME).")
            self.credentials = name or ""

    def _keys(self) -> Keys:
        if isinstance(self.credentials, ObjectStoreCredentials):
            return self.credentials.to_keys()
        name = self.credentials.strip()
        return load_credentials(name).to_keys() if name else MachineKeys()


def load_store(name: str) -> Store:
    """The store of a saved block. Raises SettingsError as `load_block` does."""
    return load_block(name).to_store()


def load_block(name: str) -> ObjectStore:
    """A saved block, "minio" or "imagehaul-object-store/minio".

    Raises SettingsError: there is none, it cannot be used, or the Prefect API does not answer.
    """
    from httpx import HTTPError

    try:
        block = ObjectStore.load(name.removeprefix(f"{ObjectStore.get_block_type_slug()}/"))
    except ValidationError as error:
        raise SettingsError(_unusable(name, error)) from None
    except ValueError as error:
        raise SettingsError(
            f"There is no block {name!r} of the type 'imagehaul object store' at this Prefect API.\n"
            "Make one in the UI, or list them with: prefect block ls"
        ) from error
    except RuntimeError as error:
        if isinstance(error.__cause__, ValidationError):
            raise SettingsError(_unusable(name, error.__cause__)) from None
        raise
    except HTTPError as error:
        raise SettingsError(
            f"The block {name!r} cannot be loaded: the Prefect API does not answer ({type(error).__name__})."
        ) from error
    assert isinstance(block, ObjectStore)
    return block


def _unusable(name: str, error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(map(str, first["loc"]))
    return f"The block {name!r} cannot be used: {field}: {first['msg'].removeprefix('Value error, ')}"
