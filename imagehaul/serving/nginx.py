"""An nginx configuration that serves CDN_FULLPATH from the store, and what the store must allow for it.

nginx signs no requests, so that the store has to let this host read images, thumbnails, crops and galleries without
keys. Names are the difficulty: nginx decodes a path to choose a location, and would encode it anew, differently, to
send it on. Here a `map` of `$request_uri`, which is what the client wrote, gives the store's path, and a `proxy_pass`
with a variable sends that as it stands (https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_pass).
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from imagehaul.errors import SettingsError
from imagehaul.layout import GALLERY, RENDITION_KINDS, RUN_NAME, split_s3_uri
from imagehaul.ports import LAST_PORT
from imagehaul.settings import Settings
from imagehaul.store.ca import authority_file, checked_pem
from imagehaul.store.endpoint import Store
from imagehaul.version import software

CA_FILE = "/etc/nginx/imagehaul-store-ca.pem"
_LISTEN = re.compile(
    r"(?:(?:\*|[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):)?(?P<port>[0-9]{1,5})"
    r"(?: (?:ssl|http2|default_server|proxy_protocol|reuseport|ipv6only=(?:on|off)))*"
)
"""Of what nginx takes there: https://nginx.org/en/docs/http/ngx_http_core_module.html#listen"""
_SERVED = (*RENDITION_KINDS, f"exports/*/{GALLERY}")
UNKNOWN_ADDRESS = "ADDRESS-OF-THIS-HOST/32"
AMAZON_DNS = "169.254.169.253"
"""https://docs.aws.amazon.com/vpc/latest/userguide/AmazonDNS-concepts.html"""

_CONFIGURATION = r"""
# The store's path of what is asked for, still percent-encoded as the client wrote it; "" for all that is not served.
map $request_uri $imagehaul_object {
    default "";
    # A part that is empty, '.' or '..', in whatever writing, is in no key of ours.
    "~*^<<root>>[^?]*(?:/|%2f)(?:\.|%2e){0,2}(?:[/?]|%2f|$)" "";
    "~^<<root>>/(?<imagehaul_key>[A-Za-z0-9][A-Za-z0-9._-]{0,99}/(?:<<folders>>)/[^?]+)" "<<path>>$imagehaul_key";
<<originals>>}

# A changed image keeps its URL, so that browsers have to ask again. CACHE_CONTROL of the settings comes before this.
map $upstream_http_cache_control $imagehaul_caching {
    "" "public, max-age=3600";
    default $upstream_http_cache_control;
}
<<upstream>>
server {
    listen <<listen>>;
    server_name <<server_name>>;

    # The map decides. In a server block of your own this may be `location <<place>>/`.
    location / {
        if ($request_method !~ "^(?:GET|HEAD)$") {
            return 405;
        }
        if ($imagehaul_object = "") {
            return 404;
        }
<<pass>>
        proxy_http_version 1.1;

        # No key, cookie, signature or body of the client's reaches the store.
        proxy_pass_request_headers off;
        proxy_pass_request_body off;
        proxy_set_header Host <<host>>;
        proxy_set_header Connection "";
        proxy_set_header Range $http_range;
        proxy_set_header If-Range $http_if_range;
        proxy_set_header If-None-Match $http_if_none_match;
        proxy_set_header If-Modified-Since $http_if_modified_since;

        # S3 answers 403 for what is not there, unless one may list the bucket. The store's own words stay here.
        proxy_intercept_errors on;
        error_page 400 403 404 414 = @imagehaul_absent;
        error_page 301 302 307 308 500 501 502 503 504 = @imagehaul_broken;

        proxy_hide_header Cache-Control;
        proxy_hide_header Set-Cookie;
        proxy_hide_header x-amz-id-2;
        proxy_hide_header x-amz-request-id;
        add_header Cache-Control $imagehaul_caching;
        add_header X-Content-Type-Options nosniff;
    }

    location @imagehaul_absent {
        return 404;
    }

    location @imagehaul_broken {
        return 502;
    }
}
"""


@dataclass(frozen=True, slots=True)
class Serving:
    """`configuration`: for nginx. `policy`: for the bucket, `identity`: the same for a SeaweedFS without policies.

    `authority`: PEM text of the store's private CA, for the file `CA_FILE`; "" where none is needed.
    """

    configuration: str
    policy: str
    identity: str
    authority: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """All of it as one file that nginx reads: what is not for nginx stands in comments."""
        said = [*self.notes]
        if self.authority:
            said += [
                f"The store's CA, for {CA_FILE}:",
                f"  sed -n 's/^#CA //p' THIS-FILE > {CA_FILE}",
                *(f"CA {line}" for line in self.authority.splitlines()),
            ]
        said += [
            "",
            "The least that the store must allow. For AWS, MinIO and SeaweedFS: the bucket's policy. It replaces",
            "one that is there: add the statement to yours. It names one address, so that AWS does not call it public.",
            "  sed -n 's/^#POLICY //p' THIS-FILE > policy.json",
            "  aws s3api put-bucket-policy --bucket BUCKET --policy file://policy.json     (with --endpoint-url URL)",
            *(f"POLICY {line}" for line in self.policy.splitlines()),
            "",
            "Or, for SeaweedFS, one more of the `identities` in the file of -s3.config. It names no address, and",
            "lets names with a newline through, which the star of a policy does not match there.",
            *(f"IDENTITY {line}" for line in self.identity.splitlines()),
        ]
        tagged = ("CA ", "POLICY ", "IDENTITY ")
        comments = (f"#{line}" if line.startswith(tagged) else f"# {line}".rstrip() for line in said)
        return self.configuration + "\n" + "\n".join(comments) + "\n"


def serving(settings: Settings, store: Store, listen: str = "80", address: str = "", source: str = "") -> Serving:
    """`source`: s3://bucket/prefix whose originals stay in place, "" = there are none.
    `listen`: nginx's own address or port. `address`: this host's, as the store sees it; "" finds it out if it can.

    Raises SettingsError where one of these is not what it should be, or the store's CA cannot be used.
    """
    _check_listen(listen)
    bucket, prefix = split_s3_uri(settings.remote_save)
    upstream = _Upstream.of(store, bucket)
    cdn = urlsplit(settings.cdn_fullpath)
    root = cdn.path.rstrip("/")
    address = _network(address) if address else _own_address(store)
    resources = [f"{bucket}/{prefix}*/{folder}*" for folder in _SERVED]
    resources += ["/".join(split_s3_uri(source)) + "*"] if source else []
    values = {
        "root": re.escape(root),
        "place": unquote(root),
        "folders": "|".join(
            folder.rstrip("/") for folder in (*RENDITION_KINDS, f"exports/{RUN_NAME.pattern}/{GALLERY}")
        ),
        "path": upstream.path_of(bucket, prefix),
        "upstream": upstream.group(),
        "originals": _originals(settings, source, upstream) if source else "",
        "listen": listen,
        "server_name": cdn.hostname or "_",
        "pass": upstream.directives(),
        "host": upstream.host,
    }
    title = f"# {software()}: {settings.cdn_fullpath} from {settings.remote_save} at {store.url or 'AWS'}.\n"
    return Serving(
        configuration=title + re.sub(r"<<(\w+)>>", lambda found: values[found[1]], _CONFIGURATION),
        policy=json.dumps(_policy(resources, store.region, address), indent=2),
        identity=json.dumps(
            {"name": "anonymous", "actions": [f"Read:{resource}" for resource in resources]},
            indent=2,
        ),
        authority=upstream.authority,
        notes=tuple(_notes(cdn.scheme, upstream, address, source)),
    )


def _check_listen(listen: str) -> None:
    """It is written into the configuration as it stands."""
    found = _LISTEN.fullmatch(listen)
    if not (found and 0 < int(found["port"]) <= LAST_PORT):
        raise SettingsError(
            f"nginx cannot listen at {listen!r}. Give --listen a port from 1 to {LAST_PORT}, or address and port: "
            "8080, 127.0.0.1:8080, [::1]:8080."
        )


def _network(address: str) -> str:
    """As a policy takes it."""
    try:
        return str(ipaddress.ip_network(address, strict=False))
    except ValueError as error:
        raise SettingsError(
            f"{address!r} is no IP address that the store could see. Give --address one, or a network of them: "
            "203.0.113.7, 203.0.113.0/24."
        ) from error


def _originals(settings: Settings, source: str, upstream: _Upstream) -> str:
    """The lines of the map for SOURCE_CDN_FULLPATH. Raises SettingsError where the store has a host for each bucket."""
    bucket, prefix = split_s3_uri(source)
    target, _ = split_s3_uri(settings.remote_save)
    if upstream.virtual and bucket != target:
        raise SettingsError(
            f"The store has a host name for each bucket, and {bucket} is another than {target}.\n"
            "Serve the originals by a configuration of their own, whose REMOTE_SAVE is theirs."
        )
    root = re.escape(urlsplit(settings.source_cdn_fullpath).path.rstrip("/"))
    before = upstream.path_of(bucket, "")
    return (
        "    # Originals that stay in place, below SOURCE_CDN_FULLPATH.\n"
        f'    "~*^{root}[^?]*(?:/|%2f)(?:\\.|%2e){{0,2}}(?:[/?]|%2f|$)" "";\n'
        f'    "~^{root}/(?<imagehaul_original>{re.escape(quote(prefix))}[^?]+)" "{before}$imagehaul_original";\n'
    )


@dataclass(frozen=True, slots=True)
class _Upstream:
    """The store as nginx reaches it. `host`: for the Host header; `name`: the same without the port.

    `path`: of the store's URL, as behind a gateway; without a "/" at its end.
    """

    scheme: str
    host: str
    name: str
    port: int
    path: str
    virtual: bool
    amazon: bool
    authority: str
    ca_file: str

    @classmethod
    def of(cls, store: Store, bucket: str) -> _Upstream:
        china = ".cn" if store.region.startswith("cn-") else ""
        url = urlsplit(store.url or f"https://s3.{store.region}.amazonaws.com{china}")
        virtual = store.addressing == "virtual"
        before = f"{bucket}." if virtual else ""
        given = "-----BEGIN" in store.ca
        return cls(
            scheme=url.scheme,
            host=before + url.netloc,
            name=before + (url.hostname or ""),
            port=url.port or (443 if url.scheme == "https" else 80),
            path=quote(unquote(url.path.rstrip("/"))),
            virtual=virtual,
            amazon=not store.url,
            authority=checked_pem(store.ca, "The CA") if given else "",
            ca_file=CA_FILE if given else authority_file(store.ca) if url.scheme == "https" else "",
        )

    def path_of(self, bucket: str, prefix: str) -> str:
        """Where keys of the bucket begin with `prefix`, percent-encoded."""
        return self.path + quote(f"/{prefix}" if self.virtual else f"/{bucket}/{prefix}")

    def group(self) -> str:
        """Servers that are known when nginx starts. AWS moves its own all the time, so that nginx must look them up."""
        if self.amazon:
            return ""
        server = f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"
        return f"\nupstream imagehaul_store {{\n    server {server};\n    keepalive 16;\n}}\n"

    def directives(self) -> str:
        lines = []
        if self.amazon:
            lines += [f"resolver {' '.join(_name_servers())};", f"set $imagehaul_store {self.name};"]
        lines.append(f"proxy_pass {self.scheme}://{'$' if self.amazon else ''}imagehaul_store$imagehaul_object;")
        if self.scheme == "https":
            lines += [
                "proxy_ssl_server_name on;",
                f"proxy_ssl_name {self.name};",
                "proxy_ssl_verify on;",
                "proxy_ssl_verify_depth 5;",
                f'proxy_ssl_trusted_certificate "{self.ca_file}";',
            ]
        return "\n".join(f"        {line}" for line in lines)


def _policy(resources: Sequence[str], region: str, address: str) -> dict[str, Any]:
    partition = {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(region.rpartition("-")[0].rpartition("-")[0], "aws")
    statement = {
        "Sid": "ImagehaulServing",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": [f"arn:{partition}:s3:::{resource}" for resource in resources],
        "Condition": {"IpAddress": {"aws:SourceIp": [address]}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def _notes(cdn_scheme: str, upstream: _Upstream, address: str, source: str) -> Iterator[str]:
    yield "For /etc/nginx/conf.d/. The upper part alone is the configuration; all below stands in comments."
    if cdn_scheme == "https":
        yield "CDN_FULLPATH is https: end TLS before this server, or give it `listen 443 ssl` and a certificate."
    if not (upstream.amazon or _is_address(upstream.name)):
        yield f"nginx asks for the address of {upstream.name} when it starts: reload it when that changes."
    if upstream.scheme == "https" and _is_address(upstream.name):
        yield "nginx checks no certificate for a bare address: put a name of the store's certificate in proxy_ssl_name."
    if source:
        yield "A bucket's policy may name that bucket alone: give the source's bucket the last of the resources below."
    if address == UNKNOWN_ADDRESS:
        yield f"{UNKNOWN_ADDRESS} in the policy is to be replaced by the address that the store sees."


def _own_address(store: Store) -> str:
    """This host's address on the way to the store, as a network of one; behind AWS's door it would be another."""
    url = urlsplit(store.url)
    try:
        found = socket.getaddrinfo(url.hostname, url.port or 443, type=socket.SOCK_DGRAM) if url.hostname else []
        for family, kind, protocol, _, where in found:
            with socket.socket(family, kind, protocol) as probe:
                # A datagram socket only looks up the way; nothing is sent.
                probe.connect(where)
                return str(ipaddress.ip_network(probe.getsockname()[0]))
    except OSError:
        return UNKNOWN_ADDRESS
    return UNKNOWN_ADDRESS


def _name_servers() -> list[str]:
    try:
        lines = Path("/etc/resolv.conf").read_text().splitlines()
    except OSError:
        lines = []
    found = [words[1] for words in map(str.split, lines) if words[:1] == ["nameserver"] and len(words) > 1]
    return [f"[{server}]" if ":" in server else server for server in found if _is_address(server)] or [AMAZON_DNS]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
