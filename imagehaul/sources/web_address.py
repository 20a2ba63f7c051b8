"""A picture's address on the web: what its key is, and whether it may be asked."""

from __future__ import annotations

import hashlib
import ipaddress
import posixpath
import re
from urllib.parse import SplitResult, unquote, unquote_to_bytes, urlsplit

from imagehaul.sources.scan_report import is_image
from imagehaul.url_secrets import unsigned_query

_UNFIT = re.compile(r"[\x00-\x1f\x7f/]")


def is_web(location: str) -> bool:
    return location[:8].lower().startswith(("http://", "https://"))


def problem_of_url(url: str) -> str:
    """Why it is no address that can be asked, "" where it is one."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "It is no URL."
    if not host or re.search(r"[\x00-\x20\x7f\\]", url):
        return "It is no URL."
    return ""


def without_user(url: str) -> str:
    """It is used to compare addresses; what is no URL is given back as it is."""
    return re.sub(r"^(https?://)[^/?#]*@", r"\1", url, flags=re.IGNORECASE)


def path_of(url: str, suffix: str) -> str:
    """`host/path`, decoded; with a hash of the query where that tells it from others, and an image's suffix.

    `suffix`: that of the picture's true format, such as `.jpg`, for a path that has none. Neither port nor
    signature enter it.
    """
    parts = urlsplit(url)
    path = "/".join(map(_decoded, parts.path.split("/"))).lstrip("/")
    query = unsigned_query(parts.query)
    stem, own = posixpath.splitext(path) if is_image(path) else (path, suffix)
    if query:
        stem += f"-{hashlib.sha256(query.encode()).hexdigest()[:16]}"
    return f"{_host(parts)}/{stem}{own}"


def has_image_suffix(url: str) -> bool:
    return is_image(unquote(urlsplit(url).path))


def is_public(address: str) -> bool:
    """Whether an IP address is one of the Internet: not private, loopback, link-local, reserved or multicast."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def _host(parts: SplitResult) -> str:
    return (parts.hostname or "").rstrip(".")


def _decoded(part: str) -> str:
    """As the server means it; as it stands where that would be no name."""
    try:
        name = unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        return part
    return part if _UNFIT.search(name) else name
