"""The form for keys. What the keys do is in `imagehaul.store.credentials`."""

from __future__ import annotations

from typing import ClassVar

from httpx import HTTPError
from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, HttpUrl, SecretStr

from imagehaul.errors import SettingsError
from imagehaul.store.credentials import AccessKey, Keys, MachineKeys, ProfileKeys, RoleKeys


class ObjectStoreCredentials(Block):
    """Keys for an object store: an access key, a profile, or what the machine has by itself; and a role on top.

    Fill in one way, and leave the rest empty. All empty: the machine's own keys, as boto3 finds them on the
    worker (environment, ~/.aws, SSO, web identity, container or instance role).

    Example:
        Keys that are given outright:
        ```python
        from imagehaul.blocks import ObjectStore, ObjectStoreCredentials

        ObjectStoreCredentials(access_key="AKIA...", secret_key="...").save("my-keys")
        ObjectStore(credentials="my-keys").save("aws")
        ```
        A role that the machine's own keys may assume; it is renewed while a long run works:
        ```python
        ObjectStoreCredentials(role_arn="arn:aws:iam::123456789012:role/haul").save("my-role")
        ```
    """

    _block_type_name = "imagehaul credentials"
    _block_type_slug = "imagehaul-credentials"
    # Prefect's own picture, by a URL, since it takes no picture within one.
    _logo_url = HttpUrl(
        "https://raw.githubusercontent.com/PrefectHQ/prefect/420d0d6a78bb6df1fc18bcf188fdad43c1d22ea9"
        "/assets/block-logos/secret.png"
    )

    # An error must not repeat what was typed into the form.
    model_config: ClassVar[ConfigDict] = ConfigDict(hide_input_in_errors=True)

    access_key: str = Field(
        default="", title="Access key", description="The access key's ID. MinIO: the user or the access key."
    )
    secret_key: SecretStr = Field(
        default=SecretStr(""), title="Secret key", description="The secret of the access key."
    )
    session_token: SecretStr = Field(
        default=SecretStr(""),
        title="Session token",
        description="Only for temporary keys, which run out and are not renewed.",
    )
    profile: str = Field(
        default="",
        title="Profile",
        description="A profile on the worker: of the credentials file below, or of ~/.aws where that is empty.",
    )
    credentials_file: str = Field(
        default="",
        title="Credentials file",
        description="Path of a credentials file on the worker, in the form of ~/.aws/credentials.",
    )
    role_arn: str = Field(
        default="",
        title="Role",
        description="ARN of a role to assume with the keys above. It is assumed again before its keys run out.",
    )
    external_id: str = Field(
        default="", title="External ID", description="What the role's owner asks for with the role, if anything."
    )
    sts_url: str = Field(
        default="",
        title="STS URL",
        description="Where the role is assumed. Empty: at the object store's own URL, or at AWS where that is AWS.",
    )

    def to_keys(self) -> Keys:
        """Not `keys`: Prefect would take a block with a method of that name for a mapping.

        Raises SettingsError where the fields contradict each other.
        """
        access_key, secret_key = self.access_key.strip(), self.secret_key.get_secret_value().strip()
        session_token = self.session_token.get_secret_value().strip()
        profile, file, role = self.profile.strip(), self.credentials_file.strip(), self.role_arn.strip()
        self._refuse_masks(secret_key, session_token)
        given = bool(access_key or secret_key or session_token)
        if given and (profile or file):
            raise SettingsError(
                "The credentials block holds both an access key and a profile or credentials file.\n"
                "Empty one of the two."
            )
        if given and not (access_key and secret_key):
            missing = "Secret key" if access_key else "Access key"
            raise SettingsError(f"The credentials block is not whole: its field {missing!r} is empty.")
        if (self.external_id or self.sts_url) and not role:
            raise SettingsError("The credentials block has an external ID or an STS URL, and no role to use it for.")
        base: AccessKey | ProfileKeys | MachineKeys = MachineKeys()
        if given:
            base = AccessKey(access_key, secret_key, session_token)
        elif profile or file:
            base = ProfileKeys(profile or "default", file)
        if role:
            return RoleKeys(role, self.external_id.strip(), base=base, sts_url=self.sts_url.strip())
        return base

    def _refuse_masks(self, *secrets: str) -> None:
        """Prefect shows asterisks in place of a secret. Its V2 UI stores them, where it saves a block in a block."""
        if any(secret and not secret.strip("*") for secret in secrets):
            block = f"The credentials block {self._block_document_name!r}" if self._block_document_name else "The block"
            raise SettingsError(
                f"{block} holds asterisks in place of its secret: Prefect's UI saved its own mask, and the secret is "
                "lost.\nType the secret again in the block of the credentials; and in the block of the object store, "
                "name that block under Credentials."
            )


def load_credentials(name: str) -> ObjectStoreCredentials:
    """The saved block, "minio-keys" or "imagehaul-credentials/minio-keys".

    Raises SettingsError: there is none, or the Prefect API does not answer.
    """
    slug = ObjectStoreCredentials.get_block_type_slug()
    try:
        block = ObjectStoreCredentials.load(name.strip().removeprefix(f"{slug}/"), _sync=True)  # type: ignore[call-arg]
    except ValueError as error:
        raise SettingsError(
            f"There is no block {name!r} of the type 'imagehaul credentials' at this Prefect API.\n"
            "Make one in the UI under that name, or correct the name in the block of the object store."
        ) from error
    except HTTPError as error:
        raise SettingsError(
            f"The block {name!r} cannot be loaded: the Prefect API does not answer ({type(error).__name__})."
        ) from error
    assert isinstance(block, ObjectStoreCredentials)
    return block
