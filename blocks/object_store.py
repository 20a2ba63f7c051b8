"""The form for an object store. What a store does is in `imagehaul.store.endpoint`."""

from __future__ import annotations

from typing import ClassVar

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, ValidationError, field_validator

from imagehaul.blocks.credentials import ObjectStoreCredentials
from imagehaul.errors import SettingsError
from imagehaul.store.ca import checked_pem
from imagehaul.store.endpoint import Addressing, Store
from imagehaul.store.reference import StoreReference


class ObjectStore(Block):
    """An S3-compatible object store: AWS, MinIO, Ceph, SeaweedFS and others.

    All that decides which store is meant comes from here: no variable of the worker's environment redirects it.
    The bucket is not part of it; the flow's settings name it (REMOTE_SAVE).

    Example:
        A MinIO with a certificate of a private CA:
        ```python
        from pathlib import Path
        from imagehaul.blocks import ObjectStore, ObjectStoreCredentials

        keys = ObjectStoreCredentials(access_key="...", secret_key="...")
        keys.save("minio-keys")
        ObjectStore(
            object_store_url="https://minio.example.org:9000",
            ca_bundle=Path("ca.pem").read_text(),
            credentials=keys,
        ).save("minio")
        ```
        Then: `imagehaul deliver SOURCE --dataset NAME --store minio`
    """

    _block_type_name = "imagehaul object store"
    _block_type_slug = "imagehaul-object-store"

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
    credentials: ObjectStoreCredentials = Field(
        default_factory=ObjectStoreCredentials,
        title="Credentials",
        description="The keys, in a block of their own. Empty: the worker's own, as boto3 finds them.",
    )

    @field_validator("ca_bundle")
    @classmethod
    def _no_private_key(cls, value: str) -> str:
        if "-----BEGIN" in value:
            try:
                checked_pem(value, "The CA")
            except SettingsError as error:
                raise ValueError(str(error)) from None
        return value

    def to_store(self) -> Store:
        """Raises SettingsError for a URL or keys that cannot be used."""
        return Store(
            url=self.object_store_url,
            region=self.region.strip() or "us-east-1",
            addressing=self.addressing_style,
            credentials=self.credentials.to_keys(),
            ca=self.ca_bundle.strip(),
            reference=StoreReference("block", self._block_document_name) if self._block_document_name else None,
        )


def load_store(name: str) -> Store:
    """The store of a saved block, "minio" or "imagehaul-object-store/minio".

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
    return block.to_store()


def _unusable(name: str, error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(map(str, first["loc"]))
    return f"The block {name!r} cannot be used: {field}: {first['msg'].removeprefix('Value error, ')}"
