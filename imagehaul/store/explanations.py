"""A store's error in words for the user: what was being done, to what, why it failed, and what to do now."""

from __future__ import annotations

import re
from typing import Any, Literal

from imagehaul.errors import Code, StoreError
from imagehaul.store.errors import Verdict, answer_of, causes, classify
from imagehaul.text import printable

Verb = Literal["list", "read", "write", "copy", "remove", "end", "assume", "deliver", "verify"]
"""What was being done. It decides which permission is named, unless a listing was refused; and begins the sentence."""

_TOO_LARGE_FOR_PROXY = (
    "413: a proxy before the store takes no request of this size. nginx allows 1 MB unless client_max_body_size says "
    "more: set it to 0 there."
)
_ARCHIVED = "It lies in an archive (such as Glacier), and must be restored before it can be read."


def explain(error: BaseException, verb: Verb, what: str, url: str) -> StoreError:
    """The error as the sentence that ends the run. `what` was to be done it to: "s3://bucket/prefix/"; `url` of who
    was asked.
    """
    if isinstance(error, StoreError):
        return error
    verdict, where = classify(error), url or "AWS"
    said, doing = reported_words(error), f"{verb} {what}".strip()
    asked = f"The security token service at {where}" if verb == "assume" else f"The store at {where}"
    if other := _other_server(error, verdict):
        return StoreError(
            f"What answered in place of the store at {where} is {other}: {said}.\n"
            "Correct the URL, let that server pass requests to the store, or name the store's host in NO_PROXY.",
        )
    match verdict.code:
        case Code.CERTIFICATE:
            return _certificate(said, where)
        case Code.WRONG_REGION:
            return _redirected(error, said, doing, where)
        case Code.STORE_UNAVAILABLE:
            text = f"{asked} cannot be reached: {said}."
        case Code.BUCKET_MISSING:
            text = f"{asked} could not {doing}: there is no such bucket ({verdict.reported})."
        case Code.ACCESS_DENIED | Code.CREDENTIALS_EXPIRED if not any(map(answer_of, causes(error))):
            text = f"There are no keys for the store at {where}: {said}."
        case _:
            text = f"{asked} refused to {doing}: {said}."
    hint = _HINTS.get(verdict.reported) or verdict.code.advice
    if verdict.reported == "ConnectionClosedError" and url.startswith("http://"):
        hint = "Check the URL: a port with TLS wants https://."
    if verdict.reported in ("AccessDenied", "403"):
        # To read a folder is to list it first.
        listed = any(getattr(cause, "operation_name", "") == "ListObjectsV2" for cause in causes(error))
        hint = _PERMISSIONS.get("list" if listed else verb, _NEEDED.format("the permission for it"))
    return StoreError(f"{text}\n{hint}", verdict.code)


def _redirected(error: BaseException, said: str, doing: str, where: str) -> StoreError:
    answer: dict[str, Any] = next(filter(None, map(answer_of, causes(error))), {})
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = answer.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region", "")
    if region or "location" not in headers:
        mend = f"Set the region to {region}" if region else "Set the bucket's region"
        return StoreError(
            f"The store at {where} could not {doing}: the bucket is in another region ({said}).\n"
            f"{mend}: AWS_REGION, or the block's field.",
            Code.WRONG_REGION,
        )
    return StoreError(
        f"The store at {where} sends us on to {printable(headers['location'])} ({said}).\n"
        "Write the store's own URL, with https:// where it wants that."
    )


_NEEDED = "These keys need {} there; or the bucket is another account's, or its policy denies it."
_PERMISSIONS: dict[Verb, str] = {
    "list": _NEEDED.format("s3:ListBucket"),
    "write": _NEEDED.format("s3:PutObject"),
    "read": _NEEDED.format("s3:GetObject"),
    "remove": _NEEDED.format("s3:DeleteObject"),
    "copy": _NEEDED.format("s3:GetObject on the source and s3:PutObject"),
    "assume": "Correct the keys that assume it, or let them (sts:AssumeRole), and let the role trust them.",
}
_HINTS = {
    "InvalidAccessKeyId": "It does not know the access key: correct the keys, or the URL (another store?).",
    "SignatureDoesNotMatch": "The secret key is not the one of this access key: correct the secret key.",
    "PartialCredentialsError": (
        "Give both parts of the key, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment or the two lines "
        "of the profile, or none of them."
    ),
    "NoCredentialsError": (
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write .vl/aws_credentials, or name a block with --store. "
        "A source in another store has SOURCE_AWS_PROFILE and --source-store."
    ),
}

_TLS_FAULTS = (
    ("WRONG_VERSION_NUMBER", "it speaks no TLS at this port", "Write http:// in the URL, or correct the port."),
    ("HTTP_REQUEST", "it speaks no TLS at this port", "Write http:// in the URL, or correct the port."),
    ("has expired", "its certificate has expired", "Renew the certificate on the server, or set this machine's clock."),
    ("not yet valid", "its certificate is not valid yet", "Set this machine's clock, or correct the certificate."),
    ("match", "its certificate is for another host name", "Use a name in the URL that the certificate names."),
    ("self-signed", "its certificate is not trusted: it is self-signed, or its CA is", ""),
    ("issuer certificate", "its certificate is not trusted: it is signed by an unknown CA", ""),
)


def tls_fault(said: str) -> tuple[str, str]:
    """What is wrong with a TLS connection by OpenSSL's words, and what to do; "" = name the CA."""
    return next(((fault, mend) for word, fault, mend in _TLS_FAULTS if word in said), (said, ""))


def _certificate(said: str, where: str) -> StoreError:
    fault, mend = tls_fault(said)
    mend = mend or "Give the CA that signed it, as a PEM file: AWS_CA_BUNDLE, or the block's CA field."
    return StoreError(f"No TLS connection to the store at {where}: {fault}.\n{mend}", Code.CERTIFICATE)


def reported_words(error: BaseException) -> str:
    """The store's or the system's own words, in one line."""
    for cause in causes(error):
        response = answer_of(cause)
        if response:
            said = response.get("Error", {})
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", "no status")
            code, message = str(said.get("Code") or status), str(said.get("Message") or "").strip(" .")
            return printable(f"{code} ({message})" if message and message != code else code)
    inner = getattr(error, "kwargs", {}).get("error", error)
    return printable(re.sub(r"^\w+\(.*?\): ", "", " ".join(str(inner).split())).rstrip("."))


def words_of(verdict: Verdict, said: str) -> str:
    """What the ledger's row says of one object. `said`: the store's or the system's own words."""
    own = {"413": _TOO_LARGE_FOR_PROXY, "InvalidObjectState": _ARCHIVED}
    return own.get(verdict.reported) or printable(said)


def _other_server(error: BaseException, verdict: Verdict) -> str:
    """The name of a proxy or web server that answered in the store's place; "" where the store did, or nobody.

    A store says in XML why it refuses, but for the answer to a HEAD, which has no body and no type.
    """
    answer: dict[str, Any] = next(filter(None, map(answer_of, causes(error))), {})
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if not verdict.reported.isdecimal() or "html" not in headers.get("content-type", ""):
        return ""
    named = (headers.get(name, "") for name in ("x-squid-error", "via", "proxy-agent", "server"))
    name = next(filter(None, named), "")
    return f"a web server or proxy ({printable(name)})" if name else "a web server or proxy"
