"""The command that prints a configuration for nginx."""

from __future__ import annotations

import pytest

from tests.support.commanding import imagehaul, refused


@pytest.mark.parametrize(
    "listen", ["80", "127.0.0.1:8080", "[::1]:65535", "*:1", "web-1.example.com:80", "443 ssl http2"]
)
def test_where_nginx_listens_is_what_was_given(listen: str, environment: dict[str, str]) -> None:
    done = imagehaul("nginx", "--listen", listen, environment=environment)
    assert (done.returncode, f"\n    listen {listen};\n" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    "listen",
    ["", "0", "65536", "99999", "-80", "٨٠", "abc", "80 tls", "80\n", "abc; } evil {", "a b:80", "::1:80", "x:"],
)
def test_where_nginx_cannot_listen_is_told(listen: str, environment: dict[str, str]) -> None:
    done = imagehaul("nginx", f"--listen={listen}", environment=environment)
    assert "Give --listen a port from 1 to 65535" in refused(done, 2)
    assert not done.stdout


@pytest.mark.parametrize(
    ("given", "written"),
    [("203.0.113.7", "203.0.113.7/32"), ("203.0.113.7/24", "203.0.113.0/24"), ("2001:db8::1", "2001:db8::1/128")],
)
def test_the_policy_names_the_address_that_was_given(given: str, written: str, environment: dict[str, str]) -> None:
    done = imagehaul("nginx", "--address", given, environment=environment)
    assert (done.returncode, f'"{written}"' in done.stdout) == (0, True)


@pytest.mark.parametrize(
    "address", ["bla bla", "web.example.com", "http://203.0.113.7", "203.0.113.7:80", "1.2.3.4/33"]
)
def test_what_is_no_address_is_told(address: str, environment: dict[str, str]) -> None:
    done = imagehaul("nginx", "--address", address, environment=environment)
    assert "is no IP address" in refused(done, 2)
    assert not done.stdout
