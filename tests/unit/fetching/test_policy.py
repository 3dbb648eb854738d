"""What may be asked: public addresses, usual ports, and the hosts that the settings name."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from pydantic import ValidationError

from product_search.fetching.addresses import is_public
from product_search.fetching.errors import ImageUrlRefused
from product_search.fetching.policy import Hosts, Policy
from product_search.fetching.urls import parse
from product_search.settings import Settings

NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::8.8.8.8",  # compatible
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",  # mapped
    "::ffff:0:127.0.0.1",  # translated
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::808:808",  # what a tunnel or a translator makes of it is not ours to know
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",  # Teredo
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "2606:2800:220:1::1%eth0",
]
PUBLIC = ["8.8.8.8", "93.184.216.34", "100.63.0.1", "172.32.0.1", "2606:2800:220:1::1"]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_not_everybody_reaches_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_other_addresses_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_one_address_that_is_not_public_condemns_a_name(address: str) -> None:
    for addresses in ([address], [*PUBLIC, address], [address, *PUBLIC]):
        with pytest.raises(ImageUrlRefused) as refused:
            Policy().checked(addresses)
        assert address not in refused.value.message
    assert [str(one) for one in Policy().checked(PUBLIC)] == PUBLIC


def test_a_name_without_addresses_is_refused_in_the_same_words() -> None:
    with pytest.raises(ImageUrlRefused) as nowhere:
        Policy().checked([])
    with pytest.raises(ImageUrlRefused) as inside:
        Policy().checked(["10.0.0.1"])
    assert nowhere.value.message == inside.value.message


def passes(url: str, *hosts: str) -> bool:
    try:
        Policy(tuple(map(Hosts.parse, hosts))).check(parse(url))
    except ImageUrlRefused:
        return False
    return True


@pytest.mark.parametrize("port", [22, 25, 81, 3306, 6379, 8080, 8443])
def test_only_usual_ports_are_asked_unless_one_is_listed(port: int) -> None:
    url = f"http://shop.example:{port}/"
    assert passes("http://shop.example/")
    assert passes("http://shop.example:443/")
    assert not passes(url)
    assert not passes(url, "shop.example")
    assert passes(url, "other.example", f"shop.example:{port}")
    assert not passes("http://shop.example/", f"shop.example:{port}")


@pytest.mark.parametrize(
    ("url", "is_listed"),
    [
        ("https://shop.example/", True),
        ("https://SHOP.example/", True),
        ("https://img.cdn.example/", True),
        ("https://a.b.cdn.example/", True),
        ("https://93.184.216.34/", True),
        ("https://cdn.example/", False),
        ("https://evilcdn.example/", False),
        ("https://img.shop.example/", False),
        ("https://shop.example.evil.example/", False),
        ("https://93.184.216.35/", False),
    ],
)
def test_where_hosts_are_listed_no_other_is_asked(url: str, is_listed: bool) -> None:
    assert passes(url, "Shop.Example", "*.cdn.example", "93.184.216.34") == is_listed


def test_a_listed_host_is_asked_at_public_addresses_alone() -> None:
    with pytest.raises(ImageUrlRefused):
        Policy((Hosts.parse("10.0.0.1"),)).checked(["10.0.0.1"])


def test_hosts_are_parted_by_commas() -> None:
    chosen = Settings(_env_file=None, fetch_hosts="shop.example, *.cdn.example:8443,")
    assert chosen.fetch_hosts == ["shop.example", "*.cdn.example:8443"]
    assert (Settings(_env_file=None).fetch_images, Settings(_env_file=None).fetch_hosts) == (
        False,
        [],
    )


@pytest.mark.parametrize(
    "hosts",
    [
        "http://shop.example",
        "shop.example/a",
        "shop.example/",
        "*",
        "*.93.184.216.34",
        "shop",
        "shop.*",
        "a@shop.example",
        "shop.example:x",
    ],
)
def test_what_names_no_host_is_told_at_the_start(hosts: Any) -> None:
    with pytest.raises(ValidationError):
        Settings(_env_file=None, fetch_hosts=hosts)
