"""Which proxy the way to a store leads through: decided once, so that all clients go the same way.

Left to themselves they differ in NO_PROXY: Python's know no ranges of addresses, and Rust's no ports. Go's never send
to this very machine through a proxy.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from imagehaul.errors import SettingsError
from imagehaul.url_secrets import without_secrets

_PORTS = {"http": 80, "https": 443}


def proxy_for(url: str, environ: Mapping[str, str] = os.environ) -> str:
    """The proxy's URL, "" for none: HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, unless NO_PROXY names the host.

    Lower case comes before upper case. NO_PROXY: hosts (with what lies below them), `.domain`, `host:port`, addresses,
    ranges as `10.0.0.0/8`, and `*`.

    Raises `SettingsError` where it is no URL of an HTTP proxy.
    """
    parts = urlsplit(url)
    host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme, 0)
    names = (f"{parts.scheme}_proxy", "all_proxy")
    proxy = next(filter(None, (environ.get(each) for name in names for each in (name, name.upper()))), "")
    if not proxy:
        return ""
    excluded = re.split(r"[,\s]+", environ.get("no_proxy") or environ.get("NO_PROXY") or "")
    if any(_names(entry, host, port) for entry in filter(None, excluded)):
        return ""
    return _checked(proxy if "://" in proxy else f"http://{proxy}", host)


def _checked(proxy: str, host: str) -> str:
    try:
        parts = urlsplit(proxy)
        usable = parts.scheme in _PORTS and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(
            f"The proxy {without_secrets(proxy)!r} for {host} is no http:// or https:// URL of a proxy.\n"
            "Correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or name the host in NO_PROXY."
        )
    return proxy


def proxies_for(url: str) -> dict[str, str]:
    """As botocore takes them; {} keeps it from looking at the environment by itself."""
    proxy = proxy_for(url)
    return {"http": proxy, "https": proxy} if proxy else {}


def is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    address = _address(host)
    return host == "localhost" or host.endswith(".localhost") or (address is not None and address.is_loopback)


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    named, with_port = entry, re.fullmatch(r"(\[[^\]]+\]|[^:]+):(\d+)", entry)
    if with_port:
        if int(with_port[2]) != port:
            return False
        named = with_port[1]
    named = named.strip("[]").lstrip("*").lower()
    other = _address(named)
    if address is not None or other is not None:
        return address == other
    return host == named.lstrip(".") or host.endswith(f".{named.lstrip('.')}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
