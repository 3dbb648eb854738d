"""Any text as a picture's URL: it is refused, or a public address is asked."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NoReturn

import httpcore
from hypothesis import given, strategies as st

from product_search.fetching.fetcher import Fetcher
from product_search.fetching.policy import Policy
from tests.fuzz.inputs import FEW
from tests.hostile_server import AUTHORITIES, fetched

SCHEMES = ["http://", "https://", "HTTP://", "http:", "http:/", "//", "file://", "ftp://", ""]
HOSTS = """
shop.example 127.0.0.1 127.1 2130706433 0x7f.1 0177.0.0.1 169.254.169.254 [::1] [::ffff:10.0.0.1]
[64:ff9b::a9fe:a9fe] [64:ff9b::808:808] [2002:7f00:1::] [2606:2800:220:1::1] [fe80::1%25eth0]
93.184.216.34 localhost 10.0.0.1 shop。example ⓢhop.example xn--fiqs8s.example shop.example.
1.1.1.1.example example.1 example.0x1
"""
SIGNS = ["@", ":", "/", "\\", "#", "?", "%", "[", "]", ".", "%40", "%2e", " ", "\t", "\r\n", "。"]
PIECES = [*SCHEMES, *HOSTS.split(), *SIGNS, ":80", ":443", ":8080", ":0", "user", "图片"]
urls = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
    st.builds(
        "{}{}{}/{}".format,
        st.sampled_from(SCHEMES[:3]),
        st.one_of(
            st.sampled_from(HOSTS.split()),
            st.ip_addresses(v=4).map(str),
            st.ip_addresses(v=6).map("[{}]".format),
            st.integers(0, 2**32).map(str),
        ),
        st.sampled_from(["", "", ":80", ":443", ":22", "@127.0.0.1", ".", "\\@x.example"]),
        st.text(max_size=20),
    ),
)
PREFIXES = [0, 0xFFFF << 32, 0x64FF9B << 96, 0x64FF9B0001 << 80, 0x2002 << 112, 0x20010000 << 96]
embedding = st.builds(
    lambda prefix, one: IPv6Address(prefix + int(one)),
    st.sampled_from(PREFIXES),
    st.ip_addresses(v=4),
)
addresses = st.one_of(
    st.ip_addresses(),
    st.ip_addresses(v=6, network="2000::/3"),
    embedding,
    st.sampled_from(["8.8.8.8", "1.1.1.1", "2606:4700::1111"]).map(ip_address),
)


class Asked(httpcore.AsyncNetworkBackend):
    """A network that only notes to where connections are asked for."""

    def __init__(self) -> None:
        self.addresses: list[str] = []

    async def connect_tcp(self, host: str, *_: Any, **__: Any) -> NoReturn:
        """Note it, and fail."""
        self.addresses.append(host)
        raise httpcore.ConnectError


def is_global(address: IPv4Address | IPv6Address) -> bool:
    """As Python's own tables have it."""
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    return getattr(address, "sixtofour", None) is None and getattr(address, "teredo", None) is None


@FEW
@given(urls, st.lists(addresses.map(str), max_size=3))
def test_any_url_is_refused_or_a_public_address_is_asked(url: str, found: list[str]) -> None:
    network, names = Asked(), list[str]()

    async def resolve(name: str, _: int) -> list[str]:
        names.append(name)
        return found

    fetcher = Fetcher(Policy(), resolve=resolve, network=network, certificates=AUTHORITIES)
    outcome = fetched(fetcher, url)
    assert outcome.code in {"image_url_refused", "image_fetch_failed"}
    assert (outcome.code == "image_fetch_failed") == bool(network.addresses)
    assert all(is_global(ip_address(one)) for one in network.addresses)
    if network.addresses and names:
        assert all(is_global(ip_address(one)) for one in found)
        assert network.addresses == list(dict.fromkeys(found))
