"""The HTTP client for pictures on web servers: through which proxy it goes, whom it trusts, and where it does not go.

Addresses are checked where the connection is made, so that no name that resolves to another address a moment later,
and no redirect, leads past the check.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from imagehaul.errors import Code
from imagehaul.sources.web_address import is_public, is_web
from imagehaul.store.proxies import proxy_for
from imagehaul.url_secrets import without_secrets
from imagehaul.version import software

if TYPE_CHECKING:
    import httpx

_SHORTEST = 1.0
"""Seconds that each of a host's addresses is given at least."""


@dataclass(frozen=True, slots=True)
class WebPatience:
    """Seconds for a connection and for the next byte, the pauses before each further attempt, and the longest
    `Retry-After` that is waited for."""

    connect: float = 10.0
    read: float = 30.0
    pauses: tuple[float, ...] = (1.0, 4.0, 16.0)
    longest_wait: float = 60.0


class WebError(Exception):
    """Why a picture cannot be had."""

    def __init__(self, code: Code, message: str = "") -> None:
        super().__init__(message or code.meaning)
        self.code = code


def make_client(allow_private: bool, ca: str, patience: WebPatience) -> httpx.Client:
    """`ca`: a PEM file to trust besides the system's, "" = none. Follows no redirect by itself."""
    from http.cookiejar import CookieJar, DefaultCookiePolicy

    import httpx

    # It tells each URL, signature and all.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    trusted = ssl.create_default_context()
    if ca:
        trusted.load_verify_locations(cafile=ca)
    limits = httpx.Limits(max_connections=256, max_keepalive_connections=64)

    def transport(proxy: str) -> httpx.HTTPTransport:
        """A proxy decides by itself which addresses it connects to."""
        made = httpx.HTTPTransport(verify=trusted, limits=limits, proxy=httpx.Proxy(proxy) if proxy else None)
        if not (allow_private or proxy):
            _guard(made, trusted, limits)
        return made

    return httpx.Client(
        transport=_by_proxy(transport),
        trust_env=False,  # What it takes from the environment is decided here.
        timeout=httpx.Timeout(patience.read, connect=patience.connect, pool=None),
        follow_redirects=False,
        headers={"User-Agent": software().replace(" ", "/"), "Accept": "image/*,*/*;q=0.5"},
        # A server that names a new cookie in each answer would soon have them all in each request, and refuse it.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        event_hooks={"response": [_check_redirect]},
    )


def _by_proxy(make: Callable[[str], httpx.HTTPTransport]) -> httpx.BaseTransport:
    """Sends each request through the proxy that holds for its URL, as for the store. `make("")`: through none."""
    import httpx

    class ByProxy(httpx.BaseTransport):
        def __init__(self) -> None:
            self._lock = threading.Lock()
            self._transports: dict[str, httpx.HTTPTransport] = {}

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            proxy = proxy_for(str(request.url))
            with self._lock:
                transport = self._transports.get(proxy) or self._transports.setdefault(proxy, make(proxy))
            try:
                return transport.handle_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
                if not proxy or "SSL: " in str(error):
                    raise
                words = f"Through the proxy {without_secrets(proxy)}: {error}"
                raise httpx.ProxyError(words, request=request) from error

        def close(self) -> None:
            for transport in self._transports.values():
                transport.close()

    return ByProxy()


def _guard(transport: httpx.HTTPTransport, trusted: ssl.SSLContext, limits: httpx.Limits) -> None:
    """Has it connect to public addresses alone."""
    import httpcore

    class PublicOnly(httpcore.SyncBackend):
        def connect_tcp(
            self, host: str, port: int, timeout: float | None = None, *arguments: Any, **named: Any
        ) -> httpcore.NetworkStream:
            addresses = _public_addresses(host, port)
            until = time.monotonic() + (timeout or 0)
            for number, address in enumerate(addresses):
                # What one leaves of the time, the others have.
                share = timeout and max(_SHORTEST, (until - time.monotonic()) / (len(addresses) - number))
                try:
                    return super().connect_tcp(address, port, share, *arguments, **named)
                except (httpcore.ConnectError, httpcore.ConnectTimeout):
                    if address == addresses[-1]:
                        raise
            raise AssertionError("There is an address, and the last one connects or raises.")

    # httpx has no parameter for httpcore's network backend.
    transport._pool = httpcore.ConnectionPool(
        ssl_context=trusted,
        max_connections=limits.max_connections,
        max_keepalive_connections=limits.max_keepalive_connections,
        network_backend=PublicOnly(),
    )


def _public_addresses(host: str, port: int) -> list[str]:
    """In the system's order. Raises `WebError` where there is none."""
    import httpcore

    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"The name {host} cannot be resolved: {error}") from None
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    if public := [address for address in addresses if is_public(address)]:
        return public
    raise WebError(Code.ADDRESS_REFUSED, f"{host} is {addresses[0]}, an address of an inner network.")


def _check_redirect(answer: httpx.Response) -> None:
    """Raises `WebError` before httpx looks at the address, which it calls a broken connection where it is none."""
    if answer.has_redirect_location:
        redirected(str(answer.url), answer.headers["location"])


def redirected(url: str, location: str) -> str:
    """Raises `WebError` where it leads to no address, to anything but the web, or away from TLS."""
    import httpx

    try:
        target = urljoin(url, location)
        nowhere = is_web(target) and not httpx.URL(target).host
    except (ValueError, httpx.InvalidURL):
        nowhere = True
    if nowhere:
        raise WebError(Code.REDIRECT_REFUSED, "It is redirected to what is no URL.")
    if not is_web(target):
        raise WebError(Code.REDIRECT_REFUSED, f"It is redirected to {target.partition(':')[0]}:, which is not the web.")
    if url.lower().startswith("https:") and target.lower().startswith("http:"):
        raise WebError(Code.REDIRECT_REFUSED, f"It is redirected away from TLS, to {without_secrets(target)}.")
    return target
