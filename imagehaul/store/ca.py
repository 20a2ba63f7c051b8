"""The CAs that are trusted, as one PEM file that boto3, s3fs and s5cmd all get.

Left to themselves they differ: boto3 and s3fs trust the list that certifi brings, s5cmd the system's.
"""

from __future__ import annotations

import atexit
import os
import re
import ssl
import tempfile
import threading
from functools import lru_cache
from pathlib import Path

from imagehaul.errors import SettingsError

_BLOCK = re.compile(
    r"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----.*?-----END (?:X509 |TRUSTED )?CERTIFICATE-----", re.DOTALL
)
_SYSTEM_FILES = (
    # The places that Go knows, where s5cmd would look: https://go.dev/src/crypto/x509/root_linux.go
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_written: dict[tuple[int, str], str] = {}
_writing = threading.Lock()


def authority_file(ca: str) -> str:
    """The file of trusted CAs. `ca`: PEM text, the path of a PEM file, or "" for the system's.

    PEM text is written to a file that only this user can read and that goes with this process.
    Raises SettingsError: a file that is not there, cannot be read or holds no certificate, or text that is none.
    """
    if not ca.strip():
        return _system_file()
    if "-----BEGIN" in ca:
        return _file_of(checked_pem(ca, "The CA"))
    path = Path(ca.strip()).expanduser().absolute()
    try:
        if path.is_dir():
            raise SettingsError(f"The CA file {path} is a folder. Name the PEM file in it that the store's CA is in.")
        status = path.stat()
        _check_file(path, (status.st_ino, status.st_size, status.st_mtime_ns))
    except OSError as error:
        raise SettingsError(f"The CA file {path} cannot be read: {error.strerror or error}.") from error
    return str(path)


@lru_cache(maxsize=8)
def _check_file(path: Path, state: tuple[int, int, int]) -> None:
    """Once for each `state` of the file: each client and each s5cmd asks, and a system's list has 150 certificates."""
    checked_pem(path.read_text("utf-8", "replace"), f"The CA file {path}", keys_allowed=True)


@lru_cache(maxsize=8)
def checked_pem(text: str, what: str, keys_allowed: bool = False) -> str:
    """The certificates in `text`, and nothing else that stands there. `what` begins the error's sentence."""
    if "PRIVATE KEY-----" in text and not keys_allowed:
        raise SettingsError(
            f"{what} holds a private key, which must never be given away. Give the CA's certificate alone."
        )
    if "\n" not in text.strip():
        # A line that was copied out of JSON.
        text = text.replace("\\n", "\n")
    blocks = ["\n".join(line.strip() for line in block.split("\n")) for block in _BLOCK.findall(text)]
    if not blocks:
        empty = "is empty" if not text.strip() else "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
        raise SettingsError(f"{what} {empty}.")
    pem = "\n".join(blocks) + "\n"
    for number, block in enumerate(blocks if _damage(pem) else [], 1):
        if error := _damage(block + "\n"):
            raise SettingsError(
                f"{what} cannot be used: certificate {number} of {len(blocks)} in it is damaged."
            ) from error
    return pem


def _damage(pem: str) -> Exception | None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError) as error:
        return error
    return None


def _system_file() -> str:
    known = ssl.get_default_verify_paths().cafile
    for file in (known, *_SYSTEM_FILES):
        if file and Path(file).is_file():
            return file
    import certifi

    return certifi.where()


def _file_of(pem: str) -> str:
    with _writing:
        key = (os.getpid(), pem)
        if key not in _written or not Path(_written[key]).exists():
            handle, name = tempfile.mkstemp(prefix="imagehaul-ca-", suffix=".pem")
            os.close(handle)
            Path(name).write_text(pem, "ascii")
            _written[key] = name
            atexit.register(_remove, os.getpid(), name)
        return _written[key]


def _remove(owner: int, name: str) -> None:
    if os.getpid() == owner:
        Path(name).unlink(missing_ok=True)
