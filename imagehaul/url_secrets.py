"""Secrets in the URL of a picture: user and password, and what signs it. They are used, and never stored or shown."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

_SIGNED = re.compile(
    # AWS, Google, Alibaba, Tencent, CloudFront, and what others call theirs.
    r"x-(amz|goog|oss|cos)-.*|q-(sign|ak|header|url|key).*|signature|awsaccesskeyid|googleaccessid|ossaccesskeyid"
    r"|key-pair-id|policy|expires?|sig|sign|hmac|(access_?)?token|auth|jwt|api_?key|secret|password",
    re.IGNORECASE,
)
_AZURE = {"sv", "se", "st", "sp", "sr", "ss", "srt", "spr", "sip", "skoid", "sktid", "skt", "ske", "sks", "skv"}
"""Parameters of a shared access signature, where there is a `sig`.
https://learn.microsoft.com/en-us/rest/api/storageservices/create-service-sas"""


def without_secrets(url: str) -> str:
    """To be shown: no user, no password, no signature and no fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a URL that cannot be read"
    if not parts.netloc:
        return url
    query = unsigned_query(parts.query)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{'?' + query if query else ''}"


def unsigned_query(query: str) -> str:
    """The query without its signature, in its order and as it was written."""
    names = {name.lower() for name, _ in parse_qsl(query, keep_blank_values=True)}
    kept = []
    for part in filter(None, query.split("&")):
        name = unquote(part.partition("=")[0].replace("+", " ")).lower()
        if not (_SIGNED.fullmatch(name) or ("sig" in names and name in _AZURE)):
            kept.append(part)
    return "&".join(kept)
