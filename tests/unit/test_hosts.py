"""For which hosts requests may be."""

from __future__ import annotations

import socket

import pytest

from product_search.errors import HostNotAllowed, InvalidHost
from product_search.hosts import Hosts
from tests.clock import until

ALLOWED = ("shop.example.com", "*.example.org", "xn--czrs0t.cn")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8000",
        "127.0.0.1.",
        "0.0.0.0:8000",
        "192.168.1.5:8000",
        "8.8.8.8",
        "[::1]",
        "[::1]:8000",
        "[FE80::1]:8000",
        "[::ffff:127.0.0.1]",
        "localhost",
        "LocalHost:8000",
        "localhost.",
        "localhost:",
        "shop.localhost:3000",
        "shop.example.com",
        "SHOP.Example.com.:443",
        "a.example.org",
        "a.b.example.org",
        "xn--czrs0t.cn",
    ],
)
def test_addresses_this_machine_and_what_the_settings_name_are_hosts(host: str) -> None:
    Hosts(ALLOWED).check([host.encode()], "1.1")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "example.com",
        "shop.example.com.evil.example",
        "evilshop.example.com",
        "evil-example.org",
        "example.org",
        "localhost.evil.example",
        "evillocalhost",
        "127.0.0.1.evil.example",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "1.2.3.4.5",
        "rebound.evil.example:8000",
        "my_api",
    ],
)
def test_every_other_name_is_refused_and_the_setting_is_named(host: str) -> None:
    with pytest.raises(HostNotAllowed, match="PRODUCT_SEARCH_ALLOWED_HOSTS"):
        Hosts(ALLOWED).check([host.encode()], "1.1")


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b" ",
        b":8000",
        b".",
        b"localhost..",
        b"a..localhost",
        b".localhost",
        b"localhost@evil.example",
        b"evil.example@localhost",
        b"user:password@localhost",
        b"localhost/",
        b"localhost?x",
        b"localhost#x",
        b"localhost\\evil",
        b"localhost evil.example",
        b"localhost,evil.example",
        b"localhost:80:80",
        b"localhost:abc",
        b"localhost:123456",
        b"http://localhost",
        b"::1",
        b"[::1",
        b"::1]",
        b"[::1]x",
        b"[localhost]",
        b"[::1%25eth0]",
        b"[127.0.0.1.evil]",
        b"local%68ost",
        b"localhost\x00",
        "локалхост".encode(),
        b"-a.localhost",
        b"a" * 64 + b".localhost",
        b"a." * 130 + b"localhost",
        b"a" * 100_000,
    ],
)
def test_what_is_no_host_is_refused(host: bytes) -> None:
    with pytest.raises(InvalidHost):
        Hosts(ALLOWED).check([host], "1.1")


def test_a_host_is_named_once() -> None:
    with pytest.raises(InvalidHost):
        Hosts().check([b"localhost", b"evil.example"], "1.1")
    with pytest.raises(InvalidHost):
        Hosts().check([b"localhost", b"localhost"], "1.1")
    with pytest.raises(InvalidHost):
        Hosts().check([], "1.1")


def test_http_1_0_needs_no_host() -> None:
    Hosts().check([], "1.0")
    with pytest.raises(HostNotAllowed):
        Hosts().check([b"evil.example"], "1.0")


def test_a_refused_host_stays_refused_and_an_allowed_one_allowed() -> None:
    hosts = Hosts()
    for _ in range(2):
        hosts.check([b"localhost"], "1.1")
        with pytest.raises(HostNotAllowed):
            hosts.check([b"evil.example"], "1.1")


def test_this_machine_has_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Till-3")
    monkeypatch.setattr(socket, "getfqdn", lambda: "till-3.shop.example")
    hosts = Hosts()
    hosts.check([b"till-3:8000"], "1.1")
    with pytest.raises(HostNotAllowed):
        hosts.check([b"till-3.shop.example"], "1.1")
    hosts.learn_full_name()

    def is_known() -> bool:
        try:
            hosts.check([b"till-3.shop.example"], "1.1")
        except HostNotAllowed:
            return False
        return True

    until(is_known, "the full name")
